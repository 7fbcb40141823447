"""The check of circular dependencies in a recorded run, held against the SDK's own."""

from __future__ import annotations

from random import Random

import pulumi
import pytest
from pulumi.runtime import rpc
from pulumi.runtime.resource_cycle_breaker import declare_dependency

from infra.preview.dependency_check import DependencyCheck
from infra.preview.recorder import record


class Resource(pulumi.Resource):
    """Stands for a resource: the checks look at nothing but what they noted."""

    def __init__(self) -> None:
        """Registers nothing."""


@pytest.mark.parametrize("seed", range(20))
def test_declare_answers_as_the_sdk(seed: int) -> None:
    random = Random(seed)
    resources = [Resource() for _ in range(12)]
    pairs = [(random.choice(resources), random.choice(resources)) for _ in range(120)]
    check = DependencyCheck()
    answers = [check.declare(one, other) for one, other in pairs]
    assert answers == [declare_dependency(one, other) for one, other in pairs]
    assert {True, False} == set(answers)


def test_recorded_program_with_a_circular_dependency_is_refused() -> None:
    def build() -> None:
        one = pulumi.ComponentResource("devservers:aws:Network", "one")
        two = pulumi.ComponentResource("devservers:aws:Network", "two", None, pulumi.ResourceOptions(parent=one))
        pulumi.ComponentResource(
            "devservers:aws:Network", "three", None, pulumi.ResourceOptions(parent=two, depends_on=[one])
        )

    with pytest.raises(RuntimeError, match="circular dependency involving a resource of type"):
        record(build)


def test_record_leaves_the_sdks_own_check_in_place() -> None:
    record(lambda: None)
    assert rpc.__dict__["declare_dependency"] is declare_dependency
