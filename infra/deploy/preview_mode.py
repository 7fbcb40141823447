"""Chooses how a stack is previewed: by the real engine or by a simulation.

Invariant: without being asked for, a simulation is chosen only where the real engine can't run, with the reasons.
Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from infra.deploy.aws.tools import Tools


class PreviewMode(Enum):
    """How a stack is previewed."""

    PLATFORM = "the local platform's own engine"
    ENGINE = "the real engine"
    SIMULATION = "simulated"


@dataclass(frozen=True)
class PreviewChoice:
    """The mode, and two lines for each thing that is missing; a simulation without any was asked for."""

    mode: PreviewMode
    reasons: tuple[str, ...] = ()


def choose(local: bool, tools: Tools, simulated: bool = False) -> PreviewChoice:
    """How to preview a stack; ``simulated`` asks for a simulation whatever there is."""
    if simulated:
        return PreviewChoice(PreviewMode.SIMULATION)
    if local:
        return PreviewChoice(PreviewMode.PLATFORM)
    # The AWS CLI is asked for as soon as a cluster is in the program (pulumi-eks).
    problems = tools.problems(("pulumi", "aws"))
    return PreviewChoice(PreviewMode.SIMULATION, tuple(problems)) if problems else PreviewChoice(PreviewMode.ENGINE)
