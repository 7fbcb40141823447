"""Free and total are Kueue's own sums."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devservers_core.kueue_quota import (
    Demand,
    Headroom,
    choices,
    excess,
    headroom,
    possible,
    servers,
    suggest_flavor,
)
from devservers_core.types import Json
from tests.support.operator.queue_objects import GPU, cluster_queue, queues

_POOLS = {"gpu-l4": {GPU: "4"}}


@pytest.mark.parametrize(
    ("own", "other", "free", "total"),
    [
        ({}, None, 4, 4),
        ({"used": {"gpu-l4": {GPU: "3"}}}, None, 1, 4),
        # Training has some of its own, and borrows.
        ({}, {"pools": {"gpu-l4": {GPU: "2"}}}, 6, 6),
        ({"used": {"gpu-l4": {GPU: "1"}}}, {"pools": {"gpu-l4": {GPU: "0"}}, "used": {"gpu-l4": {GPU: "3"}}}, 0, 4),
        # What is used beyond all quota (it was lowered) is not less than nothing.
        ({"used": {"gpu-l4": {GPU: "9"}}}, None, 0, 4),
        # The other keeps one to itself.
        ({}, {"pools": {"gpu-l4": {GPU: "2"}}, "lendingLimit": {"gpu-l4": {GPU: "1"}}}, 5, 5),
        # What is kept and used by its owner costs the pot nothing.
        (
            {},
            {
                "pools": {"gpu-l4": {GPU: "2"}},
                "lendingLimit": {"gpu-l4": {GPU: "1"}},
                "used": {"gpu-l4": {GPU: "1"}},
            },
            5,
            5,
        ),
        # At most one is borrowed.
        ({"borrowingLimit": {"gpu-l4": {GPU: "1"}}}, {"pools": {"gpu-l4": {GPU: "2"}}}, 5, 5),
        (
            {"borrowingLimit": {"gpu-l4": {GPU: "0"}}, "used": {"gpu-l4": {GPU: "3"}}},
            {"pools": {"gpu-l4": {GPU: "2"}}},
            1,
            4,
        ),
        # Of another cohort: nothing to do with it.
        ({}, {"pools": {"gpu-l4": {GPU: "2"}}, "cohort": "others"}, 4, 4),
    ],
)
def test_headroom_of_a_queue_follows_kueues_rule(
    own: dict[str, Any], other: dict[str, Any] | None, free: int, total: int
) -> None:
    found = [cluster_queue(pools=_POOLS, **own)]
    if other is not None:
        found.append(cluster_queue("training", **other))
    assert headroom(queues(*found), "interactive", "gpu-l4", GPU) == Headroom(Decimal(free), Decimal(total))


def test_headroom_of_a_pool_without_quota_is_none() -> None:
    found = queues(cluster_queue(pools=_POOLS))
    assert headroom(found, "interactive", "gpu-l4", "cpu") is None
    assert headroom(found, "interactive", "gpu-a10", GPU) is None
    assert headroom(found, "nowhere", "gpu-l4", GPU) is None
    assert headroom({}, "interactive", "gpu-l4", GPU) is None


def test_demand_without_devices_avoids_pools_of_devices() -> None:
    found = queues(cluster_queue(pools={"cpu": {"cpu": "8", GPU: "0"}, "gpu-l4": {"cpu": "16", GPU: "4"}}))
    assert set(choices(Demand("interactive", "", {"cpu": Decimal(1)}), found)["cpu"]) == {"cpu"}
    asked = Demand("interactive", "", {"cpu": Decimal(1), GPU: Decimal(1)})
    rooms = choices(asked, found)
    assert {name: set(each) for name, each in rooms.items()} == {GPU: {"cpu", "gpu-l4"}, "cpu": {"cpu", "gpu-l4"}}
    assert {name: set(each) for name, each in possible(asked, rooms).items()} == {GPU: {"gpu-l4"}, "cpu": {"gpu-l4"}}


_amounts = st.integers(0, 9).map(str)
_limits = st.one_of(st.none(), _amounts)


@st.composite
def _queue(draw: st.DrawFn, name: str) -> Json:
    pools = {pool: {"cpu": draw(_amounts), GPU: draw(_amounts)} for pool in draw(st.sets(st.sampled_from("pqr")))}
    used = {pool: {"cpu": draw(_amounts), GPU: draw(_amounts)} for pool in pools if draw(st.booleans())}
    limits = {
        kind: {pool: {GPU: draw(_amounts)} for pool in pools if draw(st.booleans())}
        for kind in ("borrowingLimit", "lendingLimit")
    }
    return cluster_queue(name, pools, used, draw(st.sampled_from(["", "devservers"])), **limits)


@given(_queue("interactive"), _queue("training"), st.sampled_from(["", "p", "q"]), _amounts, _amounts)
def test_counts_of_any_queues_are_never_negative_and_agree_with_the_texts(
    own: Json, other: Json, pool: str, cpu: str, gpus: str
) -> None:
    found = queues(own, other)
    demand = Demand("interactive", pool, {"cpu": Decimal(cpu), GPU: Decimal(gpus)})
    rooms = choices(demand, found)
    assert all(room.free >= 0 for pools in rooms.values() for room in pools.values())
    counted = servers(demand, found)
    assert (counted is None) == (not rooms)
    assert (excess(demand, found) is None) == all(possible(demand, rooms).values())
    if counted is not None:
        assert bool(counted[1]) == all(possible(demand, rooms).values())
        assert counted[0] <= counted[1] or any(
            room.free > room.total for pools in rooms.values() for room in pools.values()
        )


def test_flavor_of_a_queue_without_quota_is_not_suggested() -> None:
    found = queues(cluster_queue(pools=_POOLS))
    others = {
        "elsewhere": Demand("research", "", {GPU: Decimal(1)}),
        "two": Demand("interactive", "", {GPU: Decimal(2)}),
    }
    assert suggest_flavor(Demand("interactive", "", {GPU: Decimal(8)}), others, found) == "two"
