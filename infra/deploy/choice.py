"""Invariant: a preview is simulated only where the real engine can't run, and then it is said why.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from infra.deploy.aws.tools import Tools


class Way(Enum):
    """How a stack is previewed."""

    PLATFORM = "the local platform's own engine"
    ENGINE = "the real engine"
    SIMULATION = "simulated"


@dataclass(frozen=True)
class Choice:
    """The way, and two lines for each thing that is missing; a simulation without any was asked for."""

    way: Way
    reasons: tuple[str, ...] = ()


def choose(local: bool, tools: Tools, simulated: bool = False) -> Choice:
    """How to preview a stack; ``simulated`` asks for a simulation whatever there is."""
    if simulated:
        return Choice(Way.SIMULATION)
    if local:
        return Choice(Way.PLATFORM)
    # The AWS CLI is asked for as soon as a cluster is in the program (pulumi-eks).
    problems = tools.problems(("pulumi", "aws"))
    return Choice(Way.SIMULATION, tuple(problems)) if problems else Choice(Way.ENGINE)
