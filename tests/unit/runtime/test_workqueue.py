"""The work queue: one run for many events, never two at once, backoff per key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from devservers.runtime.workqueue import BACKOFF_MAX, WorkQueue


class Clock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run(test: Callable[[WorkQueue[str], Clock], Awaitable[None]]) -> None:
    async def main() -> None:
        clock = Clock()
        await test(WorkQueue(clock, jitter=lambda: 0.0), clock)

    asyncio.run(asyncio.wait_for(main(), 10))


def test_add_many_times_is_one_run() -> None:
    async def check(queue: WorkQueue[str], _: Clock) -> None:
        for _time in range(50):
            queue.add("a")
        assert await queue.get() == "a"
        queue.done("a")
        assert queue.depth == 0

    run(check)


def test_add_while_processing_is_one_more_run_afterwards() -> None:
    async def check(queue: WorkQueue[str], _: Clock) -> None:
        queue.add("a")
        await queue.get()
        for _time in range(50):
            queue.add("a")
        queue.add("b")
        assert await queue.get() == "b", "a is still being processed"
        queue.done("a")
        assert await queue.get() == "a"
        queue.done("a")
        queue.done("b")
        assert queue.depth == 0

    run(check)


def test_add_low_comes_after_other_keys() -> None:
    async def check(queue: WorkQueue[str], _: Clock) -> None:
        queue.add("swept", low=True)
        queue.add("fresh")
        assert [await queue.get(), await queue.get()] == ["fresh", "swept"]

    run(check)


def test_retry_delay_doubles_until_forget() -> None:
    async def check(queue: WorkQueue[str], clock: Clock) -> None:
        assert [queue.retry("a") for _ in range(4)] == [1, 2, 4, 8]
        for _ in range(20):
            last = queue.retry("a")
        assert last == BACKOFF_MAX
        assert queue.failing == 1
        queue.forget("a")
        assert queue.failing == 0
        assert queue.retry("a") == 1

    run(check)


def test_add_after_keeps_the_earlier_time() -> None:
    async def check(queue: WorkQueue[str], clock: Clock) -> None:
        queue.add_after("a", 100)
        queue.add_after("a", 10)
        queue.add_after("a", 50)
        assert queue.depth == 0
        clock.now = 10
        assert await queue.get() == "a"
        queue.done("a")
        clock.now = 200
        queue.add("b")
        assert await queue.get() == "b"
        assert queue.depth == 1, "the later dates of a are void"

    run(check)


def test_add_makes_a_delayed_key_ready() -> None:
    async def check(queue: WorkQueue[str], clock: Clock) -> None:
        queue.add_after("a", 100)
        queue.add("a")
        assert await queue.get() == "a"
        queue.done("a")
        clock.now = 100
        queue.add("b")
        assert await queue.get() == "b"
        assert queue.depth == 1

    run(check)


def test_get_is_woken_by_add() -> None:
    async def check(queue: WorkQueue[str], _: Clock) -> None:
        waiting = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        assert await waiting == "a"

    run(check)


def test_oldest_wait_and_longest_run_are_measured() -> None:
    async def check(queue: WorkQueue[str], clock: Clock) -> None:
        assert queue.oldest_wait() == queue.longest_run() == 0
        queue.add("a")
        queue.add("b")
        clock.now = 5
        assert queue.oldest_wait() == 5
        await queue.get()
        clock.now = 7
        assert queue.oldest_wait() == 7
        assert queue.longest_run() == 2

    run(check)
