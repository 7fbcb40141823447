"""How many servers start on a small machine, by the flavors and the queue that `make up` makes there."""

from __future__ import annotations

from decimal import Decimal

import pytest

from devservers.api.shipped_flavors import SHIPPED
from devservers_core.names import GPU
from devservers_core.quantity import parse_quantity
from infra.local.capacity import Capacity, flavors, pools
from infra.settings.platform.overcommit import Overcommit, divided
from infra.settings.stack import Images, Settings

IMAGES = Images(operator="localhost/o:1", agent="localhost/a:1", base="localhost/b:1", bastion="localhost/t:1")
SETTINGS = Settings(cluster="local", images=IMAGES)
TWO_CORES = Capacity(cpu=2000, memory=8 * 1024 - 100 - 400)
"""2 CPUs and 8 GiB, without what the kubelet evicts at and what firmware and kernel keep."""
SMALL, MEDIUM, _ = SHIPPED
DISK = {"ephemeral-storage": "1Gi"}
"""Of the small one; a disk isn't given out twice."""


def test_six_small_servers_and_a_medium_one_start_on_two_cores() -> None:
    (pool,) = pools(TWO_CORES, SETTINGS)
    offered = [SETTINGS.overcommit.local(flavor) for flavor in (*[SMALL] * 6, MEDIUM)]
    for resource, given in pool.quota().items():
        asked = sum(parse_quantity(each.spec.resources.requests.get(resource, "0")) for each in offered)
        assert asked <= parse_quantity(given), resource


def test_the_platform_itself_asks_for_little_on_this_machine() -> None:
    (pool,) = pools(TWO_CORES, SETTINGS)
    assert TWO_CORES.cpu - pool.cpu < 600
    assert TWO_CORES.memory - pool.memory < 2048


def test_requests_are_divided_and_limits_stay() -> None:
    found = SETTINGS.overcommit.local(SMALL)
    assert found.spec.resources.requests == {"cpu": "125m", "memory": "512Mi"} | DISK
    assert found.spec.resources.limits == SMALL.spec.resources.limits
    assert found.metadata.annotations["devservers.io/overcommit"] == "cpu=4,memory=1"


@pytest.mark.parametrize(
    ("cpu", "memory", "requests"),
    [
        (2, 2, {"cpu": "250m", "memory": "256Mi"}),
        (3, 1.5, {"cpu": "167m", "memory": "342Mi"}),  # never less than the share
        (100, 100, {"cpu": "5m", "memory": "6Mi"}),
    ],
)
def test_shares_are_rounded_up(cpu: float, memory: float, requests: dict[str, str]) -> None:
    assert divided(SMALL, cpu, memory).spec.resources.requests == requests | DISK


def test_nothing_is_changed_where_nothing_is_given_out_twice() -> None:
    assert divided(SMALL, 1, 1) == SMALL
    assert Overcommit(cpu=1).local(MEDIUM) == MEDIUM


def test_a_gpu_is_one_server_s() -> None:
    (flavor,) = flavors(Capacity(2000, 7808, fake_gpus=4))
    found = divided(flavor, 4, 4).spec.resources
    assert (found.requests[GPU], found.limits[GPU]) == ("1", "1")
    assert parse_quantity(found.requests["cpu"]) == Decimal("0.025")
