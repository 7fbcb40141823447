"""The judge of idle traces: rules that never stop, or that only look at connections, fail its figures."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.bench import idle_figures
from tests.bench.figure import Figure
from tests.bench.idle_figures import LATE, TIMEOUT, judge
from tests.support.activity_traces import SAMPLE_SECONDS, Trace, traces

Rule = Callable[[Trace], float | None]
"""When a server with that trace is stopped, in seconds of the trace."""


def never(trace: Trace) -> float | None:
    """No server is ever stopped."""
    return None


def without_connection(trace: Trace) -> float | None:
    """Only an open connection counts as activity."""
    last = 0.0
    for sample in trace.samples:
        if sample.connected:
            last = sample.at
        elif sample.at - last >= TIMEOUT.total_seconds():
            return sample.at
    return None


def right(trace: Trace) -> float | None:
    """What the traces say themselves."""
    return None if trace.works_until is None else trace.works_until + TIMEOUT.total_seconds()


def figures(monkeypatch: pytest.MonkeyPatch, rule: Rule) -> tuple[Figure, Figure]:
    """The wrong and the late stops of a rule."""
    monkeypatch.setattr(idle_figures, "stopped_at", rule)
    rows = {figure.name: figure for figure in idle_figures.idle_figures()}
    return rows["idle_wrong_stops"], rows["idle_late_stops"]


def test_idle_figures_with_the_right_stops_keep_both_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong, late = figures(monkeypatch, right)
    assert (wrong.value, late.value) == (0, 0)
    assert wrong.met
    assert late.met


def test_idle_figures_without_any_stop_fail_for_each_idle_server(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong, late = figures(monkeypatch, never)
    assert wrong.value == 0
    assert late.value == sum(trace.works_until is not None for trace in traces() if trace.measured)
    assert not late.met


def test_idle_figures_with_stops_by_connection_fail_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detached training is killed, and an editor that is left open holds its server for ever."""
    wrong, late = figures(monkeypatch, without_connection)
    assert not wrong.met
    assert not late.met
    verdicts = {trace.name: judge(trace, without_connection(trace)) for trace in traces()}
    assert verdicts["detached training"] == "wrong"
    assert verdicts["build"] == "wrong"
    assert verdicts["GPU busy and CPU idle"] == "wrong"
    assert verdicts["editor left open"] == "late"


DUE = 600 + TIMEOUT.total_seconds()
"""The end of the timeout of a server that works for ten minutes."""


@pytest.mark.parametrize(
    ("stopped", "verdict"),
    [
        (DUE - SAMPLE_SECONDS - 1, "wrong"),
        (DUE - SAMPLE_SECONDS, "right"),
        (DUE + LATE.total_seconds(), "right"),
        (DUE + LATE.total_seconds() + 1, "late"),
        (None, "late"),
    ],
)
def test_judge_at_the_edges_of_the_timeout_gives_the_verdict(stopped: float | None, verdict: str) -> None:
    assert judge(Trace("works for ten minutes", [], works_until=600), stopped) == verdict


@pytest.mark.parametrize(("stopped", "verdict"), [(None, "right"), (9 * 3600.0, "wrong")])
def test_judge_of_a_server_whose_activity_is_unknown_allows_no_stop(stopped: float | None, verdict: str) -> None:
    assert judge(Trace("nobody knows", [], works_until=None), stopped) == verdict
