"""The workers: failed keys are retried, and no failure ends a worker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import pytest

from devservers.reconcile.interfaces import Key, Result
from devservers.runtime.metrics import Metrics
from devservers.runtime.workers import Workers
from devservers.runtime.workqueue import WorkQueue
from devservers_core.errors import ApiError
from tests.support.wait import eventually_async

ANN, BOB = Key("DevServerUser", "", "ann"), Key("DevServerUser", "", "bob")


class Scene:
    """Workers over a reconciler that does what `outcomes` says, one after the other, and is content after that."""

    def __init__(self) -> None:
        self.outcomes: list[Result | Exception | float] = []
        """A Result is returned, an exception raised, and a number of seconds spent."""
        self.seen: list[Key] = []
        self.metrics = Metrics()
        self.queue: WorkQueue[Key] = WorkQueue(jitter=lambda: 0.0)
        self.workers = Workers(self.queue, self._reconcile, self.metrics, timeout=0.2)

    async def _reconcile(self, key: Key) -> Result:
        self.seen.append(key)
        outcome = self.outcomes.pop(0) if self.outcomes else Result()
        if isinstance(outcome, Exception):
            raise outcome
        if isinstance(outcome, float):
            await asyncio.sleep(outcome)
            return Result()
        return outcome

    def count(self, result: str) -> float:
        labels = {"kind": "DevServerUser", "result": result}
        return self.metrics.registry.get_sample_value("devservers_reconciles_total", labels) or 0.0


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devservers.runtime.workqueue.BACKOFF_FIRST", 0.02)


def run(test: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        scene = Scene()
        worker = asyncio.create_task(scene.workers.run())
        try:
            await test(scene)
            assert not worker.done(), "nothing ends a worker"
        finally:
            worker.cancel()

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize(
    ("failure", "says", "traceback"),
    [
        (ApiError(409, "Conflict", "changed meanwhile"), "changed meanwhile", False),
        (KeyError(), "KeyError()", True),
        (5.0, "TimeoutError()", True),
    ],
)
def test_failed_reconcile_is_retried_and_logged(
    failure: Exception | float, says: str, traceback: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def check(scene: Scene) -> None:
        scene.outcomes = [failure]
        scene.queue.add(ANN)
        with caplog.at_level(logging.WARNING, "devservers.worker"):
            await eventually_async(lambda: scene.count("ok") == 1, "1 reconciles of result ok")
        assert scene.seen == [ANN, ANN]
        assert scene.count("error") == 1

    run(check)
    (record,) = [each for each in caplog.records if each.name == "devservers.worker"]
    assert says in record.getMessage()
    assert bool(record.exc_info) is traceback


def test_result_with_requeue_after_is_queued_again() -> None:
    async def check(scene: Scene) -> None:
        scene.outcomes = [Result(requeue_after=0.05)]
        scene.queue.add(ANN)
        await eventually_async(lambda: scene.count("ok") == 2, "2 reconciles of result ok")
        assert scene.seen == [ANN, ANN]
        assert scene.count("error") == 0

    run(check)


def test_synced_is_set_after_every_first_key_succeeded() -> None:
    async def check(scene: Scene) -> None:
        scene.outcomes = [Result(), ApiError(500, "InternalError", "")]
        scene.workers.expect([ANN, BOB], 0.0)
        scene.queue.add(ANN)
        scene.queue.add(BOB)
        await eventually_async(lambda: scene.count("error") == 1, "1 reconciles of result error")
        assert not scene.workers.synced.is_set(), "bob has failed"
        await asyncio.wait_for(scene.workers.synced.wait(), 10)
        assert scene.seen == [ANN, BOB, BOB]

    run(check)


def test_synced_of_an_empty_cluster_is_set_at_once() -> None:
    async def check(scene: Scene) -> None:
        scene.workers.expect([], 0.0)
        assert scene.workers.synced.is_set()

    run(check)


def test_drain_waits_for_queued_keys_up_to_its_limit(caplog: pytest.LogCaptureFixture) -> None:
    async def check(scene: Scene) -> None:
        scene.outcomes = [0.1]
        scene.queue.add(ANN)
        await scene.workers.drain(10.0, quiet=0.05)
        assert scene.count("ok") == 1
        assert "keys left" not in caplog.text
        until = time.monotonic() + 0.2
        await scene.workers.drain(10.0, quiet=0.05, busy=lambda: time.monotonic() < until)
        assert time.monotonic() >= until, "an agent is asked"
        scene.outcomes = [0.15] * 50
        for number in range(50):
            scene.queue.add(Key("DevServerUser", "", f"user{number}"))
        await scene.workers.drain(0.1, quiet=0.05)
        assert "stopped with keys left" in caplog.text

    run(check)
