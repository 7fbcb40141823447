"""Simulations of the committed stacks, cached for the session."""

from __future__ import annotations

import functools

from infra.preview.simulation import Simulation, simulate
from infra.preview.stackfile import read


@functools.cache
def simulated(stack: str) -> Simulation:
    """What a committed stack would make."""
    return simulate(read(stack))
