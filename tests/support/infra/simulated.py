"""Committed stacks, simulated once for all who look at them: each takes seconds."""

from __future__ import annotations

import functools

from infra.preview.simulation import Simulation, simulate
from infra.preview.stackfile import read


@functools.cache
def simulated(stack: str) -> Simulation:
    """What a committed stack would make."""
    return simulate(read(stack))
