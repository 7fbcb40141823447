"""The limits of flavor and user on how long a server runs.

Invariant: read with the user's rights; a limit that can't be read limits nothing here and is left to the operator.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from devctl import validation
from devctl.output import times
from devctl.resources.lifecycle.planned import is_stopped, lifecycle_of
from devctl.resources.lifecycle.until import show
from devctl.resources.server_state import last_start_time, status_of
from devservers_core import names
from devservers_core.duration import format_duration, parse_duration
from devservers_core.errors import ApiError, InvalidValueError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


@dataclass(frozen=True)
class Limits:
    """The most that a server may ask for, in seconds; None where nothing limits it."""

    time_to_live: int | None = None
    extension: int | None = None
    idle_timeout: int | None = None
    hold: int | None = None
    default_time_to_live: int | None = None
    """timeToLive of servers of the flavor that have none."""
    default_idle_timeout: int | None = None
    """idleTimeout of servers of the flavor that have none."""
    whose: Mapping[str, str] = field(default_factory=dict)
    """Which of the two each limit is by its field: `the flavor's` or `the user's`."""


def read_limits(context: Context, flavor: str) -> Limits:
    """Read the limits of a flavor and of the user; the smaller one counts."""
    from devservers_core.client.paths import flavor_path

    user = names.user_of(context.namespace)
    of_flavor = _spec(context, flavor_path(flavor)).get("lifecycle") or {}
    limits = [of_flavor, *([_user_limits(context, user)] if user else [])]

    whose: dict[str, str] = {}

    def smallest(name: str) -> int | None:
        amounts = [
            (seconds, owner)
            for limit, owner in zip(limits, ("the flavor's", "the user's"), strict=False)
            if (seconds := seconds_of(limit.get(name))) is not None
        ]
        if not amounts:
            return None
        seconds, whose[name] = min(amounts, key=lambda amount: amount[0])
        return seconds

    return Limits(
        smallest("maxTimeToLive"),
        smallest("maxExtension"),
        smallest("maxIdleTimeout"),
        smallest("maxHold"),
        seconds_of(limits[0].get("timeToLive")),
        seconds_of(limits[0].get("idleTimeout")),
        whose,
    )


def limits_of(context: Context, server: Json, flavor: str | None = None) -> Limits:
    """Read the limits that count for a server, with another flavor if one is given; an override lifts them all."""
    limits = read_limits(context, flavor or str((server.get("spec") or {}).get("flavor")))
    if not lifecycle_of(server).get("override"):
        return limits
    return replace(limits, time_to_live=None, extension=None, idle_timeout=None, hold=None)


def check(seconds: int | None, limit: int | None, what: str, flag: str) -> None:
    """Raise CommandError (refused) when an amount is over its limit, with the amount that is allowed."""
    if seconds is not None and limit is not None and seconds > limit:
        raise validation.refusal(
            f"{what} of {times.duration(seconds)} is too long: at most {times.duration(limit)} is allowed",
            f"take {flag} {format_duration(timedelta(seconds=limit))} or less, or ask an administrator",
        )


def check_end(end: datetime, server: Json, limits: Limits) -> None:
    """Raise CommandError (refused) when the end of a running server would move beyond what is allowed."""
    base, start = base_end(server, limits), started_at(server)
    bounds = []
    if base is not None and limits.extension is not None:
        bounds.append(base + timedelta(seconds=limits.extension))
    if start is not None and limits.time_to_live is not None:
        bounds.append(start + timedelta(seconds=limits.time_to_live))
    bound = min(bounds, default=None)
    if bound is None or end <= bound:
        return
    current = times.parse_time(status_of(server).get("expiresAt"))
    allowed = int((bound - current).total_seconds()) if current else 0
    raise validation.refusal(
        f"{server['metadata']['name']} may run until {show(bound.astimezone(end.tzinfo))} at most,"
        f" and {show(end)} is later",
        f"take {format_duration(timedelta(seconds=allowed))} or less, or ask an administrator"
        if allowed > 0
        else "its end can't move any further; ask an administrator, or stop and start it when you can",
    )


def check_amounts(lifecycle: Json, limits: Limits, start: datetime) -> None:
    """Raise CommandError (refused) for time settings that are over a limit; `start` is that of the server."""
    seconds = seconds_of(lifecycle.get("timeToLive"))
    check(seconds, limits.time_to_live, "a time limit", "--time")
    check(seconds_of(lifecycle.get("idleTimeout")), limits.idle_timeout, "an idle timeout", "--idle-timeout")
    if lifecycle.get("autoShutdown") is False and limits.idle_timeout is not None:
        raise validation.refusal(
            f"an idle timeout is in force here: at most {times.duration(limits.idle_timeout)} is allowed",
            f"take --idle-timeout {format_duration(timedelta(seconds=limits.idle_timeout))} or less, or `devctl hold`",
        )
    end = times.parse_time(lifecycle.get("expirationTime"))
    if end is not None and limits.time_to_live is not None:
        check(int((end - start).total_seconds()), limits.time_to_live, "a time limit", "--time")


def check_settings(lifecycle: Json, server: Json, limits: Limits) -> None:
    """Raise CommandError (refused) for time settings that are over a limit, or already over for a running server."""
    start, name = started_at(server), server["metadata"]["name"]
    begins = start if start is not None and not is_stopped(server) else datetime.now(UTC)
    check_amounts(lifecycle, limits, begins)
    seconds = seconds_of(lifecycle.get("timeToLive"))
    if seconds is not None and start is not None and not is_stopped(server):
        ran = (datetime.now(UTC) - start).total_seconds()
        if ran >= seconds:
            raise validation.refusal(
                f"{name} was started {times.duration(ran)} ago, and its time counts from then: it would stop at once",
                f"`devctl extend {name}` gives it more time, `devctl stop {name}` stops it",
            )


def base_end(server: Json, limits: Limits) -> datetime | None:
    """The end of a running server without its extension; None when it has none."""
    lifecycle = lifecycle_of(server)
    if not lifecycle.get("extendUntil"):
        return times.parse_time(status_of(server).get("expiresAt"))
    start, seconds = started_at(server), seconds_of(lifecycle.get("timeToLive"))
    seconds = limits.default_time_to_live if seconds is None else seconds
    ends = [start + timedelta(seconds=seconds)] if start and seconds is not None else []
    if at := times.parse_time(lifecycle.get("expirationTime")):
        ends.append(at)
    return min(ends, default=None)


def started_at(server: Json) -> datetime | None:
    """When the time of a server began: at its creation, or at its last start or restart."""
    return times.parse_time(last_start_time(server))


def _spec(context: Context, path: str) -> Json:
    try:
        return context.kube.get(path).get("spec") or {}
    except ApiError:
        return {}


def _user_limits(context: Context, user: str) -> Json:
    """The limits of a user, by their object or by what the operator writes on their namespace, which they may read."""
    from devservers_core.client.paths import user_path

    try:
        return (context.kube.get(user_path(user)).get("spec") or {}).get("lifecycle") or {}
    except ApiError:
        pass
    try:
        annotations = context.kube.get(f"/api/v1/namespaces/{context.namespace}")["metadata"].get("annotations") or {}
        limits = json.loads(str(annotations.get(names.ANNOTATION_USER_LIMITS) or "{}"))
    except (ApiError, ValueError):
        return {}
    return limits if isinstance(limits, dict) else {}


def seconds_of(text: object) -> int | None:
    """The seconds of a duration; None for none, and for what is not a duration."""
    try:
        return int(parse_duration(str(text)).total_seconds()) if text else None
    except InvalidValueError:
        return None
