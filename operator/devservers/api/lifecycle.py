"""When servers end: what their owners ask for and what flavors and users allow."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from devservers.api.fields import Duration, Matching, OnWrite, PointInTime
from devservers.api.meta import Model
from devservers_core.duration import parse_duration
from devservers_core.grammar import TIME_ZONE, TIME_ZONE_MAX

MAX_REASON = 200
"""Characters of the reason of a hold or an override."""
DEFAULT_GRACE = "120s"
SPOT_GRACE = "90s"
"""Of servers on spot machines, which are taken away two minutes after the notice."""
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

Reason = Annotated[
    str,
    Matching(
        r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
        f"not a reason; write one line of at most {MAX_REASON} characters",
        MAX_REASON,
    ),
]
TimeZone = Annotated[
    str,
    Matching(
        TIME_ZONE,
        "not a time zone; use a name like Europe/Berlin or UTC",
        TIME_ZONE_MAX,
    ),
]
_TOO_LONG = "gracePeriod is too long; use at most 600s"


def _at_most_ten_minutes(value: str) -> str:
    if parse_duration(value) > timedelta(seconds=600):
        raise ValueError(_TOO_LONG)
    return value


GracePeriod = Annotated[
    Duration,
    AfterValidator(_at_most_ten_minutes),
    OnWrite("!self.contains('d') && duration(self) <= duration('600s')", _TOO_LONG),
]


class Hold(Model):
    """Keeps a server from being stopped for idleness or at the end of working hours."""

    until: PointInTime
    """RFC 3339."""
    reason: Reason
    """Why, in one line; administrators see it."""


class Override(Model):
    """Lifts the limits of flavor and user from this server. Only administrators write it."""

    reason: Reason
    """Why, in one line."""


class Lifecycle(Model):
    """When the server ends by itself. Of several ends the earliest counts."""

    time_to_live: Duration | None = None
    """Counted from the last start, like 2h30m or 1d; the flavor's default when left out."""
    expiration_time: PointInTime | None = None
    """A point in time, RFC 3339."""
    extend_until: PointInTime | None = None
    """Moves the end to this time if that is later, within the limits of flavor and user. `devctl start` clears it."""
    idle_timeout: Duration | None = None
    """How long the server may be idle before it stops; the flavor's default when left out."""
    auto_shutdown: bool | None = None
    """false: idleness doesn't stop it, unless flavor or user limit idleTimeout."""
    on_expiry: Annotated[str, Field(json_schema_extra={"enum": ["stop", "delete"]})] = "stop"
    """What happens at the end. The home is kept either way."""
    hold: Hold | None = None
    """Keeps the server running though it is idle; time limits still hold."""
    grace_period: GracePeriod | None = None
    """How long programs have to end after SIGTERM, at most 600s. 120s when left out, and 90s on spot machines."""
    wish: str | None = Field(default=None, max_length=32)
    """The wish from inside the server that the operator granted last; the operator writes it."""
    override: Override | None = None
    """Lifts the limits of flavor and user; only administrators write it."""


class LifecycleLimits(Model):
    """The most that servers may ask for. Of the flavor's and the user's limit the smaller counts."""

    max_time_to_live: Duration | None = None
    """The longest a server runs after a start, extensions included."""
    max_extension: Duration | None = None
    """How far extendUntil may move the end."""
    max_idle_timeout: Duration | None = None
    """The longest a server may be idle, whatever autoShutdown says."""
    max_hold: Duration | None = None
    """The longest a hold lasts."""


class FlavorLifecycle(LifecycleLimits):
    """Defaults and limits of the servers of a flavor. Defaults count from a server's next start."""

    time_to_live: Duration | None = None
    """timeToLive of servers that have none."""
    idle_timeout: Duration | None = None
    """idleTimeout of servers that have none."""


class WorkingHours(Model):
    """Stops servers at a time of day, unless they are in use or held."""

    stop_at: Annotated[str, Matching(r"^([01][0-9]|2[0-3]):[0-5][0-9]$", "not a time of day; use one like 20:00", 5)]
    """Local time in timeZone."""
    time_zone: TimeZone
    """Name of the tz database, like Europe/Berlin."""
    days: Annotated[
        tuple[Annotated[str, Field(json_schema_extra={"enum": list(WEEKDAYS)})], ...],
        Field(max_length=7, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = WEEKDAYS[:5]
    """The days on which it holds."""
    idle_timeout: Duration | None = None
    """How long nothing must have happened in a server before it is stopped then; 30m when left out."""
