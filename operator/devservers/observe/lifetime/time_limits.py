"""When a server ends by its time limits, and which limit of flavor or user counts.

Invariant: an extension never makes an end earlier, and no end is later than the limits of flavor and user allow, unless
an administrator's override lifts them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.lifecycle import FlavorLifecycle, LifecycleLimits
from devservers.api.user import DevServerUser
from devservers_core.duration import parse_duration

from ..times import format_time

NO_DEFAULTS = FlavorLifecycle()


@dataclass(frozen=True, slots=True)
class Limit:
    """The smaller of a flavor's and a user's limit."""

    length: timedelta
    text: str
    """Like `the flavor's maxTimeToLive of 8h`."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """The end of a server by its time limits."""

    end: datetime | None = None
    """None where it has none."""
    cause: str = ""
    """What sets the end: timeToLive, expirationTime, extendUntil, maxTimeToLive or maxExtension."""
    cause_text: str = ""
    """The same for people, like `its time to live of 1h`."""
    latest: datetime | None = None
    """The latest end that flavor and user allow, None where they set none."""
    latest_text: str = ""
    """Which limit that is."""
    limited: bool = False
    """Whether a limit makes the end earlier than the spec asks for."""
    lasts: timedelta | None = None
    """How long it may run from its last start to the end."""


def limit_of(field: str, server: DevServer, user: DevServerUser | None, flavor: DevServerFlavor | None) -> Limit | None:
    """The limit `field` of flavor and user, None where neither sets one or an override lifts them."""
    if server.spec.lifecycle.override is not None:
        return None
    limits = [_limit(whose, lifecycle, field) for whose, lifecycle in _policies(user, flavor)]
    return min((limit for limit in limits if limit is not None), key=lambda limit: limit.length, default=None)


def time_limits(
    server: DevServer,
    user: DevServerUser | None,
    flavor: DevServerFlavor | None = None,
    defaults: FlavorLifecycle = NO_DEFAULTS,
    started: datetime | None = None,
) -> TimeLimits:
    """The end of `server`; `defaults` are those of its flavor at its last start, at `started` (None: its creation)."""
    lifecycle, started = server.spec.lifecycle, started or server.metadata.creation_timestamp
    ends = list(_asked_ends(server, started, defaults))
    base = min(ends) if ends else None
    end = base
    extension = lifecycle.extend_until
    if base is not None and extension is not None and extension > base[0]:
        end = (extension, "extendUntil", "its extension")
    ceilings = list(_ceilings(server, user, flavor, started, base[0] if base else None))
    latest = min(ceilings) if ceilings else None
    limited = latest is not None and (end is None or latest[0] < end[0])
    if limited:
        end = latest
    return TimeLimits(
        end=end[0] if end else None,
        cause=end[1] if end else "",
        cause_text=end[2] if end else "",
        latest=latest[0] if latest else None,
        latest_text=latest[2] if latest else "",
        limited=limited,
        lasts=end[0] - started if end and started else None,
    )


def limited_message(limits: TimeLimits) -> str:
    """The message of the condition TimeLimited."""
    end = format_time(limits.end) if limits.end else ""
    return f"It ends at {end}: {limits.latest_text} allows no later end. Only an administrator can lift it."


_End = tuple[datetime, str, str]


def _asked_ends(server: DevServer, started: datetime | None, defaults: FlavorLifecycle) -> Iterator[_End]:
    lifecycle = server.spec.lifecycle
    time_to_live = lifecycle.time_to_live or defaults.time_to_live
    if time_to_live is not None and started is not None:
        whose = "its" if lifecycle.time_to_live else "its flavor's default"
        end = _later(started, parse_duration(time_to_live))
        if end is not None:
            yield end, "timeToLive", f"{whose} time to live of {time_to_live}"
    if lifecycle.expiration_time is not None:
        yield lifecycle.expiration_time, "expirationTime", "its expiration time"


def _ceilings(
    server: DevServer,
    user: DevServerUser | None,
    flavor: DevServerFlavor | None,
    started: datetime | None,
    base: datetime | None,
) -> Iterator[_End]:
    for field, since in (("max_time_to_live", started), ("max_extension", base)):
        limit = limit_of(field, server, user, flavor)
        end = _later(since, limit.length) if limit is not None and since is not None else None
        if limit is not None and end is not None:
            yield end, _camel(field), limit.text


def _limit(whose: str, lifecycle: LifecycleLimits, field: str) -> Limit | None:
    text = getattr(lifecycle, field)
    return Limit(parse_duration(text), f"the {whose}'s {_camel(field)} of {text}") if text is not None else None


def _policies(user: DevServerUser | None, flavor: DevServerFlavor | None) -> Iterator[tuple[str, LifecycleLimits]]:
    if flavor is not None:
        yield "flavor", flavor.spec.lifecycle
    if user is not None:
        yield "user", user.spec.lifecycle


def _later(since: datetime, by: timedelta) -> datetime | None:
    """None beyond the year 9999, which is never."""
    try:
        return since + by
    except OverflowError:
        return None


def _camel(field: str) -> str:
    first, *rest = field.split("_")
    return first + "".join(part.title() for part in rest)
