"""What a server's agent is told: its planned stop, what counts as idle, and what its people may ask for."""

from __future__ import annotations

from datetime import datetime, timedelta

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.user import DevServerUser
from devservers_core.protocol.agent.exchange import MAX_SECONDS
from devservers_core.protocol.agent.plan import WishAnswer

from ..agent import AgentPlan
from ..times import parse_time
from .idle import idle_rule
from .lifecycle import QUIET_REASONS, Decision
from .planned_stop import announce
from .time_limits import limit_of


def agent_plan(
    server: DevServer,
    user: DevServerUser | None,
    flavor: DevServerFlavor | None,
    decision: Decision,
    grace_seconds: int,
    now: datetime,
    answers: tuple[WishAnswer, ...] = (),
) -> AgentPlan:
    """The plan for the agent of `server`.

    A time limit is always in it; a stop of a quiet server once it is announced, as it moves with every activity.
    """
    stop_at, reason, deletes = decision.limits.end, "expired", server.spec.lifecycle.on_expiry == "delete"
    coming, earlier = decision.next_stop, server.status.planned_stop
    if not decision.running:
        stop_at, reason = now, decision.stop_reason or ""
        deletes = decision.delete
    elif coming is not None and coming.reason in QUIET_REASONS:
        announced = announce(coming, earlier, now).planned
        if announced is not None:
            stop_at, reason, deletes = parse_time(announced["at"]), coming.reason, False
    elif earlier is not None and earlier.reason in QUIET_REASONS and _awaits_report(decision):
        # After a change of leader nothing is known at first: what was announced stays.
        stop_at, reason, deletes = earlier.at, earlier.reason, False
    hold = decision.hold
    held = hold is not None and hold.until > now
    return AgentPlan(
        stop_at=stop_at,
        stop_reason=reason if stop_at is not None else "",
        deletes=deletes and stop_at is not None,
        grace_seconds=grace_seconds,
        idle=idle_rule(flavor, decision.idle_timeout),
        extend_seconds=extend_most(decision),
        hold_seconds=hold_most(server, user, flavor),
        hold_until=hold.until if hold is not None and held else None,
        hold_reason=hold.reason if hold is not None and held else "",
        answers=answers,
    )


def _awaits_report(decision: Decision) -> bool:
    return decision.activity is not None and decision.activity.awaited


def extend_most(decision: Decision) -> int:
    """The most seconds that the end may be moved by; 0 where there is no end."""
    limits = decision.limits
    if limits.end is None:
        return 0
    if limits.latest is None:
        return MAX_SECONDS
    return max(0, int((limits.latest - limits.end).total_seconds()))


def hold_most(server: DevServer, user: DevServerUser | None, flavor: DevServerFlavor | None) -> int:
    """The most seconds that a hold may last."""
    limit = limit_of("max_hold", server, user, flavor)
    return MAX_SECONDS if limit is None else int(min(limit.length, timedelta(seconds=MAX_SECONDS)).total_seconds())
