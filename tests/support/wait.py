"""Waits for a condition with a deadline, and reports what was last seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    probe: Callable[[], T | None],
    what: str,
    seconds: float = 30.0,
    every: float = 0.05,
    report: Callable[[], object] | None = None,
) -> T:
    """Call `probe` until it returns something truthy, and return that.

    Raises AssertionError after `seconds`, with `what`, the probe's last value and the text of `report`, which is called
    only then.
    """
    deadline = time.monotonic() + seconds
    while True:
        seen = probe()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(_failure(what, seconds, seen, report))
        time.sleep(every)


async def eventually_async(probe: Callable[[], T | None], what: str, seconds: float = 10.0, every: float = 0.005) -> T:
    """As `eventually`, in an event loop whose other tasks go on."""
    deadline = time.monotonic() + seconds
    while True:
        seen = probe()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(_failure(what, seconds, seen, None))
        await asyncio.sleep(every)


def _failure(what: str, seconds: float, seen: object, report: Callable[[], object] | None) -> str:
    lines = [f"not within {seconds:g} s: {what}; last seen: {seen!r}"]
    if report is not None:
        try:
            lines.append(str(report()))
        except Exception as error:
            lines.append(f"the report failed: {error!r}")
    return "\n".join(lines)
