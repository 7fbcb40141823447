"""Decides whether a server is to run, by its spec, last start, owner, limits and the clock.

Invariant: nothing else decides. So a restarted operator comes to the same decision, and a stop is recorded only in the
server itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.lifecycle import FlavorLifecycle
from devservers.api.user import DevServerUser
from devservers_core.names import STOPPED_BY_EXPIRATION, STOPPED_BY_SUSPENSION, STOPPED_BY_USER

from .planned_stop import Stop
from .time_limits import NO_DEFAULTS, TimeLimits, time_limits


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to happen with a server now."""

    running: bool
    """Whether a pod is to exist."""

    delete: bool = False
    """Whether the DevServer itself is to be deleted (onExpiry delete); its home stays."""

    stop_reason: str | None = None
    """One of STOP_REASONS; None while it runs."""

    expires_at: datetime | None = None
    """When its time limits end it, None when they don't."""

    requeue_after: timedelta | None = None
    """How long until the clock changes the decision, None when it won't."""

    limits: TimeLimits = field(default=TimeLimits(), compare=False)
    """Where expires_at comes from."""

    next_stop: Stop | None = field(default=None, compare=False)
    """The stop that is next or, for a server that stops, the one that is due."""


def decide(
    server: DevServer,
    user: DevServerUser | None,
    now: datetime,
    flavor: DevServerFlavor | None = None,
    defaults: FlavorLifecycle = NO_DEFAULTS,
) -> Decision:
    """Whether `server` is to run at `now`.

    `defaults` are those of its flavor at its last start, from which time to live and limits count. Of several ends the
    earliest counts. A deletion that is due comes before every kind of stop; the owner's suspension comes before the
    owner's own wish.
    """
    limits = time_limits(server, user, flavor, defaults)
    end, deletes = limits.end, server.spec.lifecycle.on_expiry == "delete"
    expiry = Stop(end, STOPPED_BY_EXPIRATION, limits.cause_text, limits.lasts, deletes) if end else None
    due = end is not None and end <= now
    remaining = end - now if end is not None and not due else None
    expired = Decision(
        False,
        delete=deletes,
        stop_reason=STOPPED_BY_EXPIRATION,
        expires_at=end,
        limits=limits,
        next_stop=expiry,
    )
    if due and deletes:
        return expired
    stop = None
    if user is not None and user.spec.suspended:
        stop = STOPPED_BY_SUSPENSION
    elif not server.spec.running:
        stop = STOPPED_BY_USER
    elif due:
        return expired
    if stop is None:
        return Decision(True, expires_at=end, requeue_after=remaining, limits=limits, next_stop=expiry)
    # The clock changes nothing of a stopped server but its deletion.
    return (
        Decision(False, stop_reason=stop, expires_at=end, requeue_after=remaining)
        if deletes
        else Decision(False, stop_reason=stop)
    )
