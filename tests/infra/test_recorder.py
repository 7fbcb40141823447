"""A recorded run of the program: its call stack, and what it raises."""

from __future__ import annotations

import inspect
import threading

import pulumi
import pytest

from infra.preview.recorder import record


def test_recorded_program_has_its_own_calls_on_the_stack_only() -> None:
    """Pulumi's SDK describes the stack for each resource: the frames of a test runner cost a third of a run."""
    found: list[str] = []
    record(lambda: found.extend(frame.function for frame in inspect.stack()))
    assert "_in_thread" not in found
    assert inspect.stack()[0].function not in found
    assert len(found) < 30


@pytest.mark.parametrize("error", [ValueError("no such zone"), SystemExit(3), KeyboardInterrupt()])
def test_record_of_a_program_that_raises_raises_the_same(error: BaseException) -> None:
    def build() -> None:
        pulumi.ComponentResource("devservers:aws:Network", "network")
        raise error

    before = threading.active_count()
    with pytest.raises(type(error)) as raised:
        record(build)
    assert raised.value is error
    assert threading.active_count() == before
