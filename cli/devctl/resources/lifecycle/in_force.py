"""The time limit and the idle timeout that count for a server, and what sets each.

Invariant: pure; the shorter of what is asked for and of the limits counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from devctl.resources.lifecycle.limits import seconds_of

if TYPE_CHECKING:
    from devctl.resources.lifecycle.limits import Limits
    from devservers_core.types import Json

DEFAULT = "the flavor's default"


@dataclass(frozen=True)
class InForce:
    """A time that counts for a server; `source` is empty where the server's own counts."""

    seconds: int | None = None
    """None where nothing stops the server."""
    source: str = ""
    """Like `the flavor's default`, or `the user's maxIdleTimeout`."""


def idle_timeout(lifecycle: Json, limits: Limits) -> InForce:
    """How long nothing may happen in a server with these settings."""
    asked = InForce(seconds_of(lifecycle.get("idleTimeout")))
    if lifecycle.get("autoShutdown") is False:
        asked = InForce()
    elif asked.seconds is None and limits.default_idle_timeout is not None:
        asked = InForce(limits.default_idle_timeout, DEFAULT)
    return _within(asked, limits.idle_timeout, limits, "maxIdleTimeout")


def time_limit(lifecycle: Json, limits: Limits) -> InForce:
    """How long a server with these settings may run after its start; a point in time that is set counts beside it."""
    asked = InForce(seconds_of(lifecycle.get("timeToLive")))
    if asked.seconds is None and limits.default_time_to_live is not None:
        asked = InForce(limits.default_time_to_live, DEFAULT)
    return _within(asked, limits.time_to_live, limits, "maxTimeToLive")


def _within(asked: InForce, most: int | None, limits: Limits, field: str) -> InForce:
    if most is None or (asked.seconds is not None and asked.seconds <= most):
        return asked
    return InForce(most, f"{limits.whose.get(field, 'the')} {field}")
