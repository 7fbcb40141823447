"""Decides whether a server is to run, by its spec, last start, owner and the clock.

Invariant: nothing else decides. So a restarted operator comes to the same decision, and a stop is recorded only in the
server itself.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from devservers.api.devserver import DevServer
from devservers.api.user import DevServerUser
from devservers_core.duration import parse_duration
from devservers_core.names import (
    ANNOTATION_STARTED_AT,
    STOPPED_BY_EXPIRATION,
    STOPPED_BY_SUSPENSION,
    STOPPED_BY_TTL,
    STOPPED_BY_USER,
)

from .times import parse_time


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to happen with a server now."""

    running: bool
    """Whether a pod is to exist."""

    delete: bool = False
    """Whether the DevServer itself is to be deleted (onExpiry delete); its home stays."""

    stop_reason: str | None = None
    """user, ttl, expired or suspended; None while it runs."""

    expires_at: datetime | None = None
    """When it ends by itself, None when it doesn't."""

    requeue_after: timedelta | None = None
    """How long until the clock changes the decision, None when it won't."""


def decide(server: DevServer, user: DevServerUser | None, now: datetime) -> Decision:
    """Whether `server` is to run at `now`.

    The time to live counts from the last start: the later of creation and the annotation `started-at`, which `devctl
    start` sets. Of two ends the earlier counts. A deletion that is due comes before every kind of stop; the owner's
    suspension comes before the owner's own wish.
    """
    end, cause = _planned_end(server)
    due = end is not None and end <= now
    remaining = end - now if end is not None and not due else None
    delete_on_expiry = server.spec.lifecycle.on_expiry == "delete"
    if due and delete_on_expiry:
        return Decision(False, delete=True, stop_reason=cause, expires_at=end)
    stop = None
    if user is not None and user.spec.suspended:
        stop = STOPPED_BY_SUSPENSION
    elif not server.spec.running:
        stop = STOPPED_BY_USER
    elif due:
        return Decision(False, stop_reason=cause, expires_at=end)
    if stop is None:
        return Decision(True, expires_at=end, requeue_after=remaining)
    # The clock changes nothing of a stopped server but its deletion.
    return (
        Decision(False, stop_reason=stop, expires_at=end, requeue_after=remaining)
        if delete_on_expiry
        else Decision(False, stop_reason=stop)
    )


def _planned_end(server: DevServer) -> tuple[datetime | None, str]:
    lifecycle, created = server.spec.lifecycle, server.metadata.creation_timestamp
    ends: list[tuple[datetime, str]] = []
    if lifecycle.time_to_live is not None and created is not None:
        restarted = parse_time(server.metadata.annotations.get(ANNOTATION_STARTED_AT))
        running_since = max(created, restarted) if restarted else created
        with contextlib.suppress(OverflowError):  # beyond the year 9999 is never
            ends.append((running_since + parse_duration(lifecycle.time_to_live), STOPPED_BY_TTL))
    if lifecycle.expiration_time is not None:
        ends.append((lifecycle.expiration_time, STOPPED_BY_EXPIRATION))
    return min(ends) if ends else (None, "")
