"""When a server stops for idleness, by what its agent reports.

Invariant: a server is idle only by a fresh report that says so. No report, an old one or one that can't read a source
counts as activity, and so does a hold until it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.lifecycle import FlavorLifecycle
from devservers.api.user import DevServerUser
from devservers_core.duration import format_duration, parse_duration
from devservers_core.names import STOPPED_BY_END_OF_HOLD, STOPPED_BY_IDLENESS
from devservers_core.protocol.agent.plan import IdleRule
from devservers_core.protocol.agent.report import SetupStep, VolumeUse

from ..agent import STALE, AgentState
from .holds import HoldInForce
from .planned_stop import Stop
from .time_limits import limit_of

CPU_MILLICORES = 100
GPU_PERCENT = 0
SSH_BYTES_PER_MINUTE = 30_000
"""Above these a server is active, where its flavor sets no others. A silent code-server sends 11 kB a minute and uses
at most 37 thousandths of a core over ten seconds (docs/guides/activity.md has the measurement)."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What is known of the activity in a running server."""

    last: datetime | None = None
    """When something was last at work; None when that isn't known, which counts as now."""
    source: str = "unknown"
    agent: bool = True
    """False for a pod that an earlier version started, which has no agent."""
    problem: str = ""
    """Why nothing is known; empty while it is, and right after a start or a change of leader."""
    checked_at: datetime | None = None
    """When what is known becomes too old."""
    oom_kills: int | None = None
    """Processes that were killed since the start because memory ran out, by the last report."""
    volumes: tuple[VolumeUse, ...] = ()
    """How full its volumes were at `answered_at`."""
    answered_at: datetime | None = None
    """When the last report came."""
    setup: tuple[SetupStep, ...] = ()
    """The steps of the person's set-up that had ended by then."""

    @property
    def awaited(self) -> bool:
        """Whether a report is still to come, right after a start or a change of leader."""
        return self.agent and self.last is None and not self.problem


@dataclass(frozen=True, slots=True)
class IdleTimeout:
    """How long a server may be idle."""

    length: timedelta | None = None
    """None where idleness stops nothing."""
    limited: str = ""
    """Which limit makes it shorter than the spec asks for; empty when none does."""


def activity_of(state: AgentState | None, asked_since: datetime, now: datetime) -> Activity:
    """The activity by the last report. `asked_since` is from when on there should have been one."""
    if state is None:
        if now - asked_since <= STALE:
            return Activity(checked_at=asked_since + STALE)
        return Activity(problem="its agent has not answered since this operator began to ask")
    report = Activity(
        source=state.source,
        checked_at=state.answered_at + STALE,
        oom_kills=state.report.oom_kills,
        volumes=state.report.volumes,
        answered_at=state.answered_at,
        setup=state.report.setup,
    )
    if now - state.answered_at > STALE:
        minutes = STALE.total_seconds() / 60
        problem = f"its agent's last answer is more than {minutes:.0f} minutes old"
        return replace(report, problem=problem, checked_at=None)
    if state.last_activity is None:
        sources = ", ".join(state.report.unreadable) or "its sources"
        return replace(report, source="unknown", problem=f"its agent can't read {sources}")
    # A clock that is ahead never makes activity later than now.
    return replace(report, last=min(state.last_activity, now))


def of_all(activities: Sequence[Activity], replicas: int) -> Activity:
    """The activity of a distributed server, from that of its replicas: it is idle only if each of them is.

    What isn't known of one replica isn't known of the server, and so is one that has no running pod. How full volumes
    are and the steps of the set-up are the first replica's.
    """
    first = activities[0]
    kills = [activity.oom_kills for activity in activities if activity.oom_kills is not None]
    checked = [activity.checked_at for activity in activities if activity.checked_at is not None]
    whole = replace(
        first,
        agent=all(activity.agent for activity in activities),
        oom_kills=sum(kills) if kills else None,
        checked_at=min(checked, default=None),
    )
    problem = next((activity.problem for activity in activities if activity.problem), "")
    if problem or len(activities) < replicas or any(activity.last is None for activity in activities):
        return replace(whole, last=None, source="unknown", problem=problem)
    latest = max(activities, key=lambda activity: activity.last or datetime.min.replace(tzinfo=UTC))
    return replace(whole, last=latest.last, source=latest.source)


def idle_timeout(
    server: DevServer, user: DevServerUser | None, flavor: DevServerFlavor | None, defaults: FlavorLifecycle
) -> IdleTimeout:
    """The idle timeout in force: the server's, else its flavor's default, within the limits."""
    lifecycle = server.spec.lifecycle
    asked = lifecycle.idle_timeout or defaults.idle_timeout
    length = parse_duration(asked) if asked is not None else None
    if lifecycle.auto_shutdown is False:
        length = None
    limit = limit_of("max_idle_timeout", server, user, flavor)
    if limit is None or (length is not None and length <= limit.length):
        return IdleTimeout(length)
    asks_more = asked is not None or lifecycle.auto_shutdown is False
    return IdleTimeout(limit.length, limit.text if asks_more else "")


def idle_stop(
    activity: Activity, timeout: IdleTimeout, hold: HoldInForce | None, started: datetime | None
) -> Stop | None:
    """When the server stops for idleness unless something happens in it; None when it doesn't."""
    last, source = last_activity(activity, hold, started)
    if last is None or timeout.length is None:
        return None
    held = source == "hold"
    reason = STOPPED_BY_END_OF_HOLD if held else STOPPED_BY_IDLENESS
    cause = f"{format_duration(timeout.length)} without activity" + (" after its hold" if held else "")
    return Stop(last + timeout.length, reason, cause, timeout.length)


def last_activity(
    activity: Activity, hold: HoldInForce | None, started: datetime | None
) -> tuple[datetime | None, str]:
    """The last activity and its source; a start is one, and a hold is one until it ends. None: not known."""
    if not activity.agent or activity.last is None:
        return None, activity.source
    times = [(activity.last, activity.source)]
    if started is not None:
        times.append((started, "start"))
    if hold is not None:
        times.append((hold.until, "hold"))
    return max(times, key=lambda entry: entry[0])


def idle_rule(flavor: DevServerFlavor | None, timeout: IdleTimeout) -> IdleRule:
    """What the agent measures by."""
    idle = flavor.spec.idle if flavor is not None else None
    cpu = idle.cpu_millicores if idle is not None else None
    gpu = idle.gpu_percent if idle is not None else None
    return IdleRule(
        timeout_seconds=int(timeout.length.total_seconds()) if timeout.length is not None else None,
        cpu_millicores=CPU_MILLICORES if cpu is None else cpu,
        gpu_percent=GPU_PERCENT if gpu is None else gpu,
        ssh_bytes_per_minute=SSH_BYTES_PER_MINUTE,
    )
