"""The hold that keeps a server from being stopped for idleness.

Invariant: a hold lasts no longer than the limits of flavor and user allow, counted from when the operator first saw it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.user import DevServerUser
from devservers_core.types import Json

from ..times import format_time, whole_seconds
from .time_limits import limit_of


@dataclass(frozen=True, slots=True)
class HoldInForce:
    """A hold as it counts; it may be over."""

    until: datetime
    requested: datetime
    """What the spec asks for."""
    reason: str
    since: datetime
    limited: str = ""
    """Which limit makes it shorter; empty when none does."""

    def status(self) -> Json:
        """status.hold."""
        return {
            "until": format_time(self.until),
            "requestedUntil": format_time(self.requested),
            "reason": self.reason,
            "since": format_time(self.since),
        }


def hold_of(
    server: DevServer, user: DevServerUser | None, flavor: DevServerFlavor | None, now: datetime
) -> HoldInForce | None:
    """The hold of the spec, None without one."""
    hold, seen = server.spec.lifecycle.hold, server.status.hold
    if hold is None:
        return None
    requested = whole_seconds(hold.until)
    since = seen.since if seen is not None and seen.requested_until == requested else whole_seconds(now)
    limit = limit_of("max_hold", server, user, flavor)
    if limit is not None and requested - since > limit.length:
        return HoldInForce(since + limit.length, requested, hold.reason, since, limit.text)
    return HoldInForce(requested, requested, hold.reason, since)
