"""Of whom takes too much of what everybody shares, the right connection ends."""

from __future__ import annotations

import pytest

from bastion.supervisor import processes
from bastion.supervisor.connections import Connections
from bastion.supervisor.processes import Process
from bastion.supervisor.settings import SupervisorSettings
from bastion.supervisor.sshd_log import Accepted
from bastion.supervisor.sweeper import ProcessSweeper

MIB = 1 << 20


def _sweeper(*people: str) -> ProcessSweeper:
    """One who looks at connections 10, 20, ... of these people, in this order."""
    table = Connections(20)
    for number, name in enumerate(people, 1):
        table.feed(Accepted(("192.0.2.1", number), 10 * number, name, "SHA256:x"), float(number))
    return ProcessSweeper(table, SupervisorSettings(max_processes=3, max_memory=100 * MIB))


def _processes(*sizes: tuple[int, int, int]) -> dict[int, Process]:
    return {pid: Process(pid, parent, 20000, 0, size * MIB) for pid, parent, size in sizes}


def test_sweeper_over_the_memory_limit_ends_the_largest_connection() -> None:
    sweeper = _sweeper("ann", "bob", "ann")
    everyone = _processes((10, 1, 10), (11, 10, 30), (20, 1, 90), (30, 1, 1), (31, 30, 30), (32, 31, 40))
    ((live, why),) = sweeper._too_large(sweeper._below(everyone))
    assert (live.pid, live.user) == (30, "ann")
    assert "100 MiB" in why
    live.ending = why
    assert sweeper._too_large(sweeper._below(everyone)) == []


def test_sweeper_over_the_memory_limit_ends_as_many_connections_as_needed() -> None:
    """Ended one by one, with seconds between, twenty connections would hold the memory of everybody meanwhile."""
    sweeper = _sweeper("ann", "ann", "ann", "ann", "bob")
    everyone = _processes((10, 1, 80), (20, 1, 60), (30, 1, 70), (40, 1, 20), (50, 1, 100))
    assert [live.pid for live, _ in sweeper._too_large(sweeper._below(everyone))] == [10, 30]


def test_sweeper_over_the_process_limit_ends_the_latest_connection() -> None:
    sweeper = _sweeper("ann", "bob", "ann")
    everyone = _processes((10, 1, 1), (11, 10, 1), (20, 1, 1), (30, 1, 1), (31, 30, 1))
    ((live, why),) = sweeper._too_many(sweeper._below(everyone))
    assert live.pid == 30
    assert "3 processes" in why


def test_sweeper_leaves_a_user_above_the_memory_limit_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty prompts that greet at once take more than their limit for half a second."""
    sweeper = _sweeper("ann", "ann", "bob")
    ended: list[int] = []
    monkeypatch.setattr(processes, "send_signal", lambda found, number: ended.extend(each.pid for each in found))

    def look(*sizes: tuple[int, int, int]) -> list[int]:
        monkeypatch.setattr(processes, "list_processes", lambda: _processes(*sizes))
        return [live.pid for live, _ in sweeper.check_memory()]

    assert look((10, 1, 60), (20, 1, 90), (30, 1, 99)) == []
    assert look((10, 1, 60), (20, 1, 30), (30, 1, 99)) == []
    assert look((10, 1, 60), (20, 1, 90), (30, 1, 99)) == []
    assert look((10, 1, 60), (20, 1, 91), (30, 1, 99)) == [20]
    assert ended == [20]
    assert look((10, 1, 60), (20, 1, 1), (30, 1, 201)) == [30], "more than twice is too much at once"
