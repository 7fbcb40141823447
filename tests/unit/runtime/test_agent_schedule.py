"""When each agent is asked."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from devservers.runtime.agents.schedule import INTERVAL, MAX_BACKOFF, SHORT_INTERVAL, Agent, Schedule

ONE = Agent("dev-ann", "mydev", "uid-1")


def agents(count: int) -> list[Agent]:
    return [Agent("dev-ann", f"s{number}", f"uid-{number}") for number in range(count)]


def first_due(schedule: Schedule, agent: Agent = ONE) -> float:
    """The whole second in which an agent is due first, of an hour."""
    return next(float(second) for second in range(3600) if agent in schedule.due(second))


def test_schedule_asks_each_agent_once_an_interval_and_spreads_them_evenly() -> None:
    schedule = Schedule()
    schedule.update(agents(1000), 0.0)
    asked: list[tuple[int, Agent]] = []
    for second in range(1, 601):
        for agent in schedule.due(float(second)):
            asked.append((second, agent))
            schedule.done(agent, second + 0.5, short=False)
    by_agent = Counter(agent for _, agent in asked)
    assert set(by_agent.values()) == {10}
    by_second = Counter(second for second, _ in asked)
    assert max(by_second.values()) <= 40  # of 16.7 on average


def test_schedule_gives_an_agent_out_once_until_it_is_done() -> None:
    schedule = Schedule()
    schedule.update([ONE], 0.0)
    due = first_due(schedule)
    schedule.hurry(ONE, due)
    assert schedule.due(due + 1000) == []
    schedule.done(ONE, due + 1001, short=False)
    assert schedule.due(due + 1001) == [ONE], "the exchange that was asked for meanwhile"


def test_schedule_near_a_stop_asks_twice_as_often() -> None:
    schedule = Schedule()
    schedule.update([ONE], 0.0)
    due = first_due(schedule)
    schedule.done(ONE, due, short=True)
    assert schedule.due(due + SHORT_INTERVAL - 2) == []
    assert schedule.due(due + SHORT_INTERVAL) == [ONE]


def test_schedule_backs_off_from_an_agent_that_fails() -> None:
    schedule = Schedule()
    schedule.update([ONE], 0.0)
    now = first_due(schedule)
    delays = []
    for failures in range(1, 10):
        schedule.done(ONE, now, short=False, failures=failures)
        later = next(float(at) for at in range(int(now) + 1, int(now) + 1000) if schedule.due(float(at)))
        delays.append(later - now)
        now = later
    assert delays[0] <= INTERVAL
    assert delays == sorted(delays)
    assert delays[-1] == MAX_BACKOFF


def test_schedule_hurry_makes_an_agent_due_at_once() -> None:
    schedule = Schedule()
    schedule.update([ONE], 0.0)
    schedule.hurry(ONE, 0.0)
    assert schedule.due(0.0) == [ONE]
    assert schedule.due(INTERVAL) == []


def test_schedule_asks_an_agent_that_comes_later_at_once_and_spreads_it_then() -> None:
    schedule = Schedule()
    schedule.update([ONE], 0.0)
    later = agents(100)
    schedule.update([ONE, *later], 100.0)
    assert set(later) - set(schedule.due(100.0)) == set()
    for agent in later:
        schedule.done(agent, 100.5, short=False)
    halves = [len([agent for agent in schedule.due(at) if agent in later]) for at in (130.5, 160.5)]
    assert sum(halves) == 100
    assert min(halves) >= 25


def test_schedule_forgets_agents_that_are_gone() -> None:
    schedule = Schedule()
    schedule.update([ONE], 0.0)
    assert schedule.update([], 1.0) == [ONE]
    schedule.hurry(ONE, 2.0)
    schedule.done(ONE, 3.0, short=False)
    assert schedule.due(1000.0) == []
    assert len(schedule) == 0


@given(
    st.lists(st.tuples(st.sampled_from(["hurry", "done", "due"]), st.integers(0, 2), st.integers(1, 90)), max_size=60)
)
def test_schedule_never_gives_out_an_agent_that_is_in_progress_and_never_loses_one(
    steps: list[tuple[str, int, int]],
) -> None:
    schedule, now, running = Schedule(), 0.0, set[Agent]()
    three = agents(3)
    schedule.update(three, now)
    for action, number, seconds in steps:
        now += seconds
        if action == "hurry":
            schedule.hurry(three[number], now)
        elif action == "done" and three[number] in running:
            running.discard(three[number])
            schedule.done(three[number], now, short=False)
        else:
            due = schedule.due(now)
            assert not running & set(due)
            running |= set(due)
    for agent in sorted(running):
        schedule.done(agent, now, short=False)
    assert sorted(schedule.due(now + INTERVAL)) == sorted(three)
