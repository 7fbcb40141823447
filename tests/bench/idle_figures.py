"""Wrong and late stops over traces of activity, decided by the shipped agent and the shipped operator.

The agent's measurement runs on the trace (images/agent/internal/activity/replay). The operator's decision gets its
reports as exchanges bring them: every minute, every half minute near a stop, and once more before a stop for idleness.
"""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from devcluster import ROOT, gotool
from devcluster.progress import Progress
from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.observe.agent import AgentState
from devservers.observe.lifetime.idle import activity_of, idle_rule, idle_timeout
from devservers.observe.lifetime.lifecycle import decide
from devservers.runtime.agents.exchanger import NEAR
from devservers.runtime.agents.schedule import INTERVAL, SHORT_INTERVAL
from devservers_core.paths import current
from devservers_core.protocol.agent.report import Report
from tests.bench.figure import Figure
from tests.support.activity_traces import SAMPLE_SECONDS, Trace, traces

TIMEOUT = timedelta(hours=1)
LATE = timedelta(minutes=2)
START = datetime(2026, 11, 30, tzinfo=UTC)

_SERVER = DevServer.parse(
    {
        "metadata": {"name": "box", "namespace": "dev-ann", "creationTimestamp": START},
        "spec": {"flavor": "gpu", "lifecycle": {"idleTimeout": "1h"}},
    }
)
_FLAVOR = DevServerFlavor.parse({"metadata": {"name": "gpu"}, "spec": {"resources": {}}})


def idle_figures() -> list[Figure]:
    """The rows idle_wrong_stops, idle_late_stops, and idle_unmeasured_stops.

    The last counts stops of live work that no source measures, such as a detached download: a limit of the measurement
    that users are told of (docs/guides/activity.md), and not of the decision.
    """
    all_traces = traces()
    verdicts = [judge(trace, stopped_at(trace)) for trace in all_traces if trace.measured]
    unmeasured = [judge(trace, stopped_at(trace)) for trace in all_traces if not trace.measured]
    return [
        Figure("idle_wrong_stops", verdicts.count("wrong"), "stops", bound=0, runs=len(verdicts)),
        Figure("idle_late_stops", verdicts.count("late"), "stops", bound=0, runs=len(verdicts)),
        Figure("idle_unmeasured_stops", unmeasured.count("wrong"), "stops", runs=len(unmeasured)),
    ]


def judge(trace: Trace, stopped: float | None) -> str:
    """`right`, `wrong` (live work was stopped) or `late` (an idle server was not stopped in time)."""
    if trace.works_until is None:
        return "right" if stopped is None else "wrong"
    due = trace.works_until + TIMEOUT.total_seconds()
    # A sample may be ten seconds behind what happened.
    if stopped is not None and stopped < due - SAMPLE_SECONDS:
        return "wrong"
    return "right" if stopped is not None and stopped <= due + LATE.total_seconds() else "late"


def stopped_at(trace: Trace) -> float | None:
    """When the operator stops the server, in seconds of the trace; None when it never does."""
    states = _reports(trace)
    state: AgentState | None = None
    asked = 0.0
    jump = timedelta()
    for number, sample in enumerate(trace.samples):
        if trace.clock_jumps_at is not None and sample.at >= trace.clock_jumps_at:
            jump = timedelta(minutes=5)
        now = START + timedelta(seconds=sample.at) + jump
        if sample.at >= asked:
            state = _answer(states, number, now) or state
            asked = sample.at + (SHORT_INTERVAL if _near(state, now) else INTERVAL)
        if _runs(state, now):
            continue
        fresh = _answer(states, number, now)
        if fresh is not None and not _runs(fresh, now):
            return sample.at
        state = fresh or state
    return None


def _runs(state: AgentState | None, now: datetime) -> bool:
    activity = activity_of(state, START, now)
    return decide(_SERVER, None, now, _FLAVOR, _FLAVOR.spec.lifecycle, activity).running


def _near(state: AgentState | None, now: datetime) -> bool:
    return state is not None and state.last_activity is not None and state.last_activity + TIMEOUT - now <= NEAR


def _answer(reports: list[Report | None], number: int, now: datetime) -> AgentState | None:
    """What the agent says at that sample; None when it is dead."""
    report = reports[number]
    if report is None:
        return None
    last = None if report.idle_seconds is None else now - timedelta(seconds=report.idle_seconds)
    return AgentState(last, report.source, now, report)


def _reports(trace: Trace) -> list[Report | None]:
    rule = idle_rule(_FLAVOR, idle_timeout(_SERVER, None, _FLAVOR, _FLAVOR.spec.lifecycle))
    flags = {
        "cpu-millicores": rule.cpu_millicores,
        "gpu-percent": rule.gpu_percent,
        "ssh-bytes-per-minute": rule.ssh_bytes_per_minute,
    }
    text = "".join(json.dumps(sample.message()) + "\n" for sample in trace.samples)
    arguments = [f"-{name}={value}" for name, value in flags.items()]
    run = subprocess.run([_program(), *arguments], input=text, text=True, capture_output=True, check=True)
    reports: list[Report | None] = []
    for line in run.stdout.splitlines():
        measured = json.loads(line)
        dead = trace.agent_dies_at is not None and measured["at"] >= trace.agent_dies_at
        unreadable = tuple(measured["unreadable"] or ())
        reports.append(None if dead else Report(1, measured["idleSeconds"], measured["source"], unreadable=unreadable))
    return reports


@cache
def _program() -> Path:
    """The agent's replay program, built once."""
    program = ROOT / ".bench" / "replay"
    program.parent.mkdir(exist_ok=True)
    environment = gotool.environment(current(), Progress())
    gotool.go(["build", "-o", str(program), "./internal/activity/replay"], ROOT / "images/agent", environment)
    return program
