"""The wait helpers of the tests."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.wait import eventually, eventually_async


def test_eventually_returns_the_first_truthy_value() -> None:
    values = iter([None, "", "third"])
    assert eventually(lambda: next(values), "a value", 5, 0) == "third"


def test_eventually_past_its_deadline_names_the_last_value_and_the_report() -> None:
    with pytest.raises(AssertionError) as caught:
        eventually(list, "the pod", 0, 0, report=lambda: "phase Pending")
    assert str(caught.value).splitlines() == ["not within 0 s: the pod; last seen: []", "phase Pending"]


def test_eventually_with_success_never_calls_the_report() -> None:
    assert eventually(lambda: 1, "one", 0, 0, report=lambda: pytest.fail("called")) == 1


def test_eventually_with_a_failing_report_keeps_the_first_line() -> None:
    def report() -> str:
        raise OSError("gone")

    with pytest.raises(AssertionError, match=r"the pod; last seen: None\nthe report failed: OSError\('gone'\)"):
        eventually(lambda: None, "the pod", 0, 0, report)


def test_eventually_async_past_its_deadline_names_the_last_value() -> None:
    with pytest.raises(AssertionError, match="an event; last seen: 0"):
        asyncio.run(eventually_async(lambda: 0, "an event", 0))
