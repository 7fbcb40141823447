"""The hours that stops for idleness save, over days written by hand and over a few people of the model."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.bench.month_model import FIRST_DAY, FORGETS_TO_STOP, SEEDS, Day, Interval, month
from tests.bench.saved_figures import MONTH_END, SHARE_BOUND, simulate

PEOPLE = 3
"""Of the model's hundred: the operator's code is asked for each pause of each of them."""
TIMEOUT = timedelta(hours=1)


def worked(begin: float, end: float) -> Interval:
    """Hours of the first day."""
    return Interval(FIRST_DAY + timedelta(hours=begin), FIRST_DAY + timedelta(hours=end))


def test_saved_hours_of_a_forgotten_server_are_all_after_its_timeout() -> None:
    hours = simulate([[Day((worked(9, 10),), stops=False)]])
    assert hours.without == MONTH_END - FIRST_DAY - timedelta(hours=9)
    assert hours.with_stops == timedelta(hours=1) + TIMEOUT
    assert hours.saved == pytest.approx(1 - timedelta(hours=2) / hours.without)


def test_saved_hours_of_a_server_that_its_owner_stops_are_none() -> None:
    hours = simulate([[Day((worked(9, 10), worked(10.5, 12)), stops=True)]])
    assert hours.without == hours.with_stops == timedelta(hours=3)
    assert hours.starts == 0


def test_saved_hours_of_a_long_pause_cost_its_owner_a_start() -> None:
    hours = simulate([[Day((worked(9, 10), worked(14, 15)), stops=True)]])
    assert hours.without == timedelta(hours=6)
    assert hours.with_stops == timedelta(hours=1) + TIMEOUT + timedelta(hours=1)
    assert hours.starts == 1


def test_saved_share_of_the_model_is_over_its_bound_and_falls_with_forgetfulness() -> None:
    saved = simulate(month(SEEDS[0])[:PEOPLE]).saved
    assert SHARE_BOUND < saved < 1
    assert simulate(month(SEEDS[0], FORGETS_TO_STOP / 4)[:PEOPLE]).saved < saved


def test_month_model_with_the_same_seed_gives_the_same_days() -> None:
    assert month(SEEDS[0]) == month(SEEDS[0])
    assert month(SEEDS[0]) != month(SEEDS[1])
