"""What a server's agent last reported, and what is planned for the server."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from devservers_core.protocol.agent.plan import Hold, IdleRule, Plan, PlannedStop, WishAnswer
from devservers_core.protocol.agent.report import Report

STALE = timedelta(minutes=5)
"""How old the last report may be; from then on nothing is known of the server, which counts as active."""
RETRY = timedelta(seconds=30)
"""Until an agent that did not answer before a stop is asked again."""


@dataclass(frozen=True, slots=True)
class AgentState:
    """What the last good report of a pod's agent says."""

    last_activity: datetime | None
    """By the operator's clock; None when the agent can't read one of its sources."""

    source: str
    """What the last activity was: one of protocol.agent.report.LAST_SOURCES."""

    answered_at: datetime
    report: Report


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an exchange that was asked for before a stop."""

    state: AgentState | None
    """None when the agent did not answer."""


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """What is planned for a server, in times; each exchange sends it in durations."""

    stop_at: datetime | None
    """When it stops by itself; None when nothing is planned."""
    stop_reason: str
    deletes: bool
    grace_seconds: int
    idle: IdleRule
    extend_seconds: int
    hold_seconds: int
    hold_until: datetime | None = None
    hold_reason: str = ""
    answers: tuple[WishAnswer, ...] = ()

    def message(self, pod_uid: str, server: str, counter: int, now: datetime, *, final: bool = False) -> Plan:
        """The plan to send at `now`; a final one stops the server at once."""
        stop = None
        if self.stop_at is not None or final:
            left = 0 if final or self.stop_at is None else max(0, round((self.stop_at - now).total_seconds()))
            stop = PlannedStop(left, self.stop_reason, self.deletes, self.grace_seconds)
        hold = None
        if self.hold_until is not None and self.hold_until > now:
            hold = Hold(round((self.hold_until - now).total_seconds()), self.hold_reason)
        return Plan(
            pod_uid=pod_uid,
            server=server,
            counter=counter,
            stop=stop,
            idle=self.idle,
            extend_seconds=self.extend_seconds,
            hold_seconds=self.hold_seconds,
            hold=hold,
            final=final,
            answers=self.answers,
        )

    def differs_for_people(self, before: AgentPlan) -> bool:
        """Whether people in the server see something else than by the plan before; such a plan is sent out of turn."""
        return (
            self.stop_reason != before.stop_reason
            or self.deletes != before.deletes
            or self.answers != before.answers
            or self.hold_reason != before.hold_reason
            or _apart(self.stop_at, before.stop_at)
            or _apart(self.hold_until, before.hold_until)
        )


def _apart(time: datetime | None, other: datetime | None) -> bool:
    """Whether two times differ by more than the clocks' rounding."""
    if time is None or other is None:
        return time is not other
    return abs(time - other) > _ROUNDING


_ROUNDING = timedelta(seconds=10)
