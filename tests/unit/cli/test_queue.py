"""Tests what devctl reads from Kueue's objects."""

from __future__ import annotations

import pytest

from devctl.resources.queue import is_waiting, ordinal, suggest
from devservers_core.kueue_quota import flavor_demand, servers
from devservers_core.types import Json
from tests.support.operator.queue_objects import GPU, cluster_queue, queues


def flavor(name: str, gpus: int, pool: str = "gpu-l4", **spec: object) -> Json:
    resources = {"requests": {"cpu": "4", "memory": "16Gi"}, "limits": {"cpu": "8", "memory": "16Gi"}}
    if gpus:
        resources["limits"][GPU] = str(gpus)
    selector = {"devservers.io/pool": pool} if pool else {}
    return {"metadata": {"name": name}, "spec": {"resources": resources, "nodeSelector": selector, **spec}}


@pytest.mark.parametrize(
    ("number", "words"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (21, "21st")]
)
def test_ordinal_numbers_have_their_suffix(number: int, words: str) -> None:
    assert ordinal(number) == words


def test_kueue_servers_counts_those_that_can_start() -> None:
    found = queues(cluster_queue(used={"gpu-l4": {GPU: "1", "cpu": "4"}}))
    assert servers(flavor_demand(flavor("one", 1)["spec"]), found) == (3, 4)
    assert servers(flavor_demand(flavor("two", 2)["spec"]), found) == (1, 2)
    assert servers(flavor_demand(flavor("eight", 8)["spec"]), found) == (0, 0)
    assert servers(flavor_demand(flavor("elsewhere", 1, queue="research")["spec"]), found) is None
    assert servers(flavor_demand(flavor("one", 1)["spec"]), {}) is None


def test_suggest_returns_the_most_similar_flavor_that_fits() -> None:
    known = [flavor("one", 1), flavor("two", 2), flavor("eight", 8), flavor("cpu", 0)]
    assert suggest(known[2], known, queues(cluster_queue())) == "two"
    assert suggest(known[2], known, {}) is None


def test_is_waiting_not_admitted_with_kueue_is_true() -> None:
    def with_condition(status: str, reason: str) -> Json:
        return {"status": {"conditions": [{"type": "Admitted", "status": status, "reason": reason}]}}

    assert is_waiting(with_condition("False", "Queued"))
    assert is_waiting(with_condition("False", "Preempted"))
    assert not is_waiting(with_condition("True", "Admitted"))
    assert not is_waiting(with_condition("False", "KueueUnavailable"))
    assert not is_waiting({})
