"""Decides whether a server is to run, by its spec, last start, owner, limits and the clock.

Invariant: nothing else decides. So a restarted operator comes to the same decision, and a stop is recorded only in the
server itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.lifecycle import FlavorLifecycle
from devservers.api.user import DevServerUser
from devservers_core.names import (
    STOPPED_BY_END_OF_HOLD,
    STOPPED_BY_EXPIRATION,
    STOPPED_BY_IDLENESS,
    STOPPED_BY_SUSPENSION,
    STOPPED_BY_USER,
    STOPPED_BY_WORKING_HOURS,
)

from ..times import whole_seconds
from .holds import HoldInForce, hold_of
from .idle import Activity, IdleTimeout, idle_stop, idle_timeout, last_activity
from .planned_stop import Stop, with_notice
from .starts import last_start, requested_start, start_annotations
from .time_limits import NO_DEFAULTS, TimeLimits, time_limits
from .working_hours import working_hours_stop

QUIET_REASONS = (STOPPED_BY_IDLENESS, STOPPED_BY_END_OF_HOLD, STOPPED_BY_WORKING_HOURS)
"""Stops of servers in which nothing happens. A later start undoes them, and nothing else."""

_LASTING_REASONS = (*QUIET_REASONS, STOPPED_BY_EXPIRATION)
"""Stops that only a start undoes: limits that are raised later start nothing."""


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

    hold: HoldInForce | None = field(default=None, compare=False)
    """The hold of the spec, which may be over."""

    idle_timeout: IdleTimeout = field(default=IdleTimeout(), compare=False)
    activity: Activity | None = field(default=None, compare=False)
    """What is known of the activity; None where nobody asks its agent."""


def decide(
    server: DevServer,
    user: DevServerUser | None,
    now: datetime,
    flavor: DevServerFlavor | None = None,
    defaults: FlavorLifecycle = NO_DEFAULTS,
    activity: Activity | None = None,
    running_since: datetime | None = None,
) -> Decision:
    """Whether `server` is to run at `now`.

    `defaults` are those of its flavor at its last start, from which time to live and limits count; `running_since` is
    the operator's own record of it while a pod is asked for. Of several ends the earliest counts. A deletion that is
    due comes before every kind of stop; the owner's suspension comes before the owner's own wish. A running server gets
    notice of a stop that nobody has announced.
    """
    started = last_start(server, now, running_since)
    limits, deletes = time_limits(server, user, flavor, defaults, started), server.spec.lifecycle.on_expiry == "delete"
    stays = _stays_stopped(server, now)
    serves = server.status.pod_name is not None and server.spec.running and stays is None
    if user is not None and user.spec.suspended:
        serves = False
    expiry = _expiry(server, limits, now, deletes=deletes, serves=serves)
    limits = replace(limits, end=expiry.at if expiry is not None else None)
    end = limits.end
    due = end is not None and end <= now
    remaining = end - now if end is not None and not due else None
    running = Decision(
        True,
        expires_at=end,
        limits=limits,
        hold=hold_of(server, user, flavor, now),
        idle_timeout=idle_timeout(server, user, flavor, defaults),
        activity=activity,
    )
    expired = replace(running, running=False, delete=deletes, stop_reason=STOPPED_BY_EXPIRATION, next_stop=expiry)
    if due and deletes:
        return expired
    if user is not None and user.spec.suspended:
        reason = STOPPED_BY_SUSPENSION
    elif not server.spec.running:
        reason = STOPPED_BY_USER
    elif stays is not None:
        stopped = replace(running, running=False, stop_reason=stays, requeue_after=remaining if deletes else None)
        return stopped if deletes or due else replace(stopped, expires_at=None)
    elif due:
        return expired
    else:
        quiet = [stop for stop in _quiet_stops(server, user, flavor, running, started, now) if stop is not None]
        if serves:
            quiet = [with_notice(stop, server.status.planned_stop, now) for stop in quiet]
        stops = [*([expiry] if expiry is not None else []), *quiet]
        first = min(stops, key=lambda stop: stop.at, default=None)
        if first is None:
            return running
        if first.at <= now:
            return replace(running, running=False, stop_reason=first.reason, next_stop=first)
        return replace(running, requeue_after=first.at - now, next_stop=first)
    # The clock changes nothing of a stopped server but its deletion.
    return (
        Decision(False, stop_reason=reason, expires_at=end, requeue_after=remaining, activity=activity)
        if deletes
        else Decision(False, stop_reason=reason, activity=activity)
    )


def _expiry(server: DevServer, limits: TimeLimits, now: datetime, *, deletes: bool, serves: bool) -> Stop | None:
    """The stop by the time limits, None without any.

    The end that the status has was announced with it: only an end that a change made is put off for a notice.
    """
    if limits.end is None:
        return None
    stop = Stop(limits.end, STOPPED_BY_EXPIRATION, limits.cause_text, limits.lasts, deletes)
    if not serves or server.status.expires_at == whole_seconds(stop.at):
        return stop
    # How long the server ran until an end that is a time says nothing about how short the notice may be.
    whole = replace(stop, after=None) if limits.cause == "expirationTime" else stop
    late = with_notice(whole, server.status.planned_stop, now)
    return late if late.at > stop.at else stop


def _stays_stopped(server: DevServer, now: datetime) -> str | None:
    """Why a server was stopped that stays so until a start, if there was none since: only its status records that."""
    status, last = server.status, server.status.last_stop
    if last is None or last.reason not in _LASTING_REASONS:
        return None
    if status.stop_reason not in (*_LASTING_REASONS, STOPPED_BY_SUSPENSION):
        return None
    if last.starts is not None:
        return last.reason if last.starts == start_annotations(server) else None
    # An earlier version recorded the time only.
    started = requested_start(server, now)
    return last.reason if started is None or started <= last.at else None


def _quiet_stops(
    server: DevServer,
    user: DevServerUser | None,
    flavor: DevServerFlavor | None,
    running: Decision,
    started: datetime | None,
    now: datetime,
) -> Iterator[Stop | None]:
    """The stops that wait until nothing happens in the server any more."""
    if running.activity is None:
        return
    yield idle_stop(running.activity, running.idle_timeout, running.hold, started)
    hours = (user.spec.working_hours if user is not None else None) or (
        flavor.spec.working_hours if flavor is not None else None
    )
    if hours is not None:
        last, _ = last_activity(running.activity, running.hold, None)
        yield working_hours_stop(hours, last, started, now)
