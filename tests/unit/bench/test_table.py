"""A figure that can't be taken costs itself only: the others are printed and written, and the exit code says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from devcluster import packages
from tests.bench import __main__ as bench
from tests.bench.figure import Figure
from tests.bench.table import FailedFigure, Table


def broken() -> Figure:
    raise RuntimeError("the API server\nis away")


def first(table: Table) -> None:
    table.take(("one",), lambda: Figure("one", 1, "s"))
    table.take(("two", "three"), broken)
    table.take(("four",), lambda: Figure("four", 4, "s", bound=5))


def second(table: Table) -> None:
    table.take(("five",), lambda: Figure("five", 5, "s"))
    raise AssertionError("its platform does not start")


def third(table: Table) -> None:
    table.take(("seven",), lambda: Figure("seven", 7, "s"))


GROUPS: dict[Callable[[Table], None], tuple[str, ...]] = {
    first: ("one", "two", "three", "four"),
    second: ("five", "six"),
    third: ("seven",),
}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bench of seven figures, three of which can't be taken."""
    monkeypatch.setattr(bench, "GROUPS", GROUPS)
    monkeypatch.setattr(bench, "NAMES", tuple(name for names in GROUPS.values() for name in names))
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(packages, "require", lambda: None)
    return tmp_path / "results.json"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["bench", *arguments])
    return bench.main()


def test_failed_figures_are_printed_with_their_reason_beside_the_others(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results.write_text(json.dumps([{"name": "two", "value": 2}, {"name": "other", "value": 9}]))
    assert run(monkeypatch) == 1
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(lines) == {"figure", "one", "two", "three", "four", "five", "six", "seven"}
    for name in ("two", "three"):
        assert lines[name].split(maxsplit=2)[1:] == ["failed", "RuntimeError: the API server is away"]
    assert lines["six"].endswith("failed  AssertionError: its platform does not start")
    written = {row["name"]: row for row in json.loads(results.read_text())}
    assert {name for name, row in written.items() if "failed" in row} == {"two", "three", "six"}
    assert written["two"] == {"name": "two", "value": None, "failed": "RuntimeError: the API server is away"}
    assert [written[name]["value"] for name in ("one", "four", "five", "seven", "other")] == [1, 4, 5, 7, 9]


def test_one_figure_alone_takes_neither_its_neighbours_nor_their_failures(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, "--only", "four") == 0
    assert [row["name"] for row in json.loads(results.read_text())] == ["four"]
    assert run(monkeypatch, "--only", "three") == 1
    assert run(monkeypatch, "--only", "eight") == 2


def test_figures_measured_together_are_shown_together() -> None:
    table = Table(only="one")
    table.take(("one", "two"), lambda: [Figure("one", 1, "s"), Figure("two", 2, "s")])
    assert list(table.rows) == ["one", "two"]


def test_a_measurement_that_leaves_a_figure_out_fails_it() -> None:
    table = Table()
    table.take(("one", "two"), lambda: [Figure("one", 1, "s")])
    assert isinstance(table.rows["one"], Figure)
    assert table.rows["two"] == FailedFigure("two", "RuntimeError: not measured: two")
    assert not table.met


def test_a_missed_bound_still_fails_the_run() -> None:
    table = Table()
    table.take(("one",), lambda: Figure("one", 2, "s", bound=1))
    assert not table.met


def test_ctrl_c_ends_the_run() -> None:
    def interrupted() -> Figure:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Table().take(("one",), interrupted)
