"""Tests which flavors a user may use, and how many servers their quota allows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from devctl.resources.allowance import Allowance, smallest
from devservers_core.kueue_quota import flavor_demand
from devservers_core.names import SERVER_COUNT
from devservers_core.quantity import quantity_or_zero


def flavor(name: str, cpu: str, gpu: str | None = None) -> dict[str, Any]:
    requests = {"cpu": cpu, "memory": "1Gi"} | ({"nvidia.com/gpu": gpu} if gpu else {})
    return {"metadata": {"name": name}, "spec": {"resources": {"requests": requests}}}


def amounts(**given: str) -> dict[str, Decimal]:
    names = {"cpu": "requests.cpu", "gpu": "requests.nvidia.com/gpu", "servers": SERVER_COUNT}
    return {names[key]: quantity_or_zero(value) for key, value in given.items()}


@pytest.mark.parametrize(
    ("hard", "used", "expected"),
    [
        ({}, {}, None),
        ({"cpu": "4"}, {}, (8, 8)),
        ({"cpu": "4"}, {"cpu": "3200m"}, (1, 8)),
        ({"cpu": "4"}, {"cpu": "5"}, (0, 8)),
        ({"cpu": "4", "servers": "3"}, {"cpu": "1", "servers": "2"}, (1, 3)),
        ({"gpu": "2"}, {}, None),
    ],
)
def test_allowance_several_quotas_bounds_servers_by_the_smallest(hard: Any, used: Any, expected: object) -> None:
    mine = Allowance(None, amounts(**hard), amounts(**used))
    assert mine.servers(flavor_demand(flavor("a", "500m")["spec"])) == expected


def test_allowance_gpu_quota_bounds_servers_with_gpus() -> None:
    mine = Allowance(None, amounts(gpu="4", cpu="100"), amounts(gpu="1"))
    assert mine.servers(flavor_demand(flavor("a", "1", gpu="2")["spec"])) == (1, 2)


def test_may_use_listed_flavor_or_all_is_true() -> None:
    assert Allowance().may_use("a")
    assert Allowance(frozenset({"a"})).may_use("a")
    assert not Allowance(frozenset({"a"})).may_use("b")


def test_smallest_mixed_flavors_prefers_one_without_gpu() -> None:
    some = [flavor("gpu", "100m", gpu="1"), flavor("large", "4"), flavor("medium", "2")]
    assert smallest(some) == "medium"
    assert smallest([]) is None
