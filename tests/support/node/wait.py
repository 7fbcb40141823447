"""Waits on a real node, where a probe is often a program."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tests.support import wait

T = TypeVar("T")


def eventually(
    probe: Callable[[], T | None], what: str, seconds: float = 60.0, report: Callable[[], object] | None = None
) -> T:
    """As `tests.support.wait.eventually`, with a minute's time and five probes a second at most."""
    return wait.eventually(probe, what, seconds, every=0.2, report=report)
