"""Properties of generated pool lists: names, groups, subnets and refusals."""

from __future__ import annotations

import re
from ipaddress import IPv4Network
from typing import Any

import pulumi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.aws.cluster.pool_layout import groups_of, pools_of, system_of
from infra.catalog import FAMILIES, Size
from infra.preview import recorder
from infra.preview.graph import Graph
from infra.settings.aws.naming import MAX_LOAD_BALANCER_NAME, MAX_NODE_GROUP_NAME, MAX_ROLE_NAME, named
from infra.settings.aws.subnets import plan_subnets
from infra.settings.loading import load
from infra.settings.problems import SettingsError
from tests.support.infra.environments import CPU, LEAST, TODAY, aws, raw

ZONES = tuple(f"eu-central-1{letter}" for letter in "abc")
SUFFIX = 26
"""What pulumi-aws puts behind a node group's prefix."""
ALL_SIZES = [(family, size) for family in FAMILIES.values() for size in family.sizes]
NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?", fullmatch=True)
STACKS = st.from_regex(r"[a-z][a-z0-9-]{0,30}", fullmatch=True)
PLENTY = settings(max_examples=40, deadline=None)


@st.composite
def pool(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """An entry that nothing is wrong with."""
    family, chosen = draw(st.sampled_from(ALL_SIZES))
    size: Size = family.sizes[chosen]
    capacity = draw(st.sampled_from(family.capacities))
    efa = bool(size.efa_cards) and draw(st.booleans())
    reserved = capacity == "CAPACITY_BLOCK" or (capacity == "ON_DEMAND" and draw(st.booleans()))
    zones = draw(st.lists(st.sampled_from(ZONES), unique=True, max_size=3))
    most = draw(st.integers(1, 1000))
    shares = [each for each in range(size.gpus + 1) if not each or not size.gpus % each]
    if efa:
        # Servers can't share an interface.
        shares = [each for each in shares if not each or not size.efa_cards * each % size.gpus]
    return {
        "name": name,
        "family": family.name,
        "size": chosen,
        "capacity": capacity,
        "max": most,
        "min": 0 if capacity == "CAPACITY_BLOCK" else draw(st.integers(0, most)),
        "zones": [draw(st.sampled_from(ZONES))] if efa or reserved else zones,
        "efa": efa,
        "reservationId": "cr-0123456789abcdef0" if reserved else "",
        "gpusPerServer": draw(st.sampled_from(shares)),
        "pricePerHour": 0 if size.price else 12.5,
    }


@st.composite
def lists(draw: st.DrawFn, most: int = 8) -> list[dict[str, Any]]:
    """A list of pools that nothing is wrong with: eight of three zones and the CPU pool stay under EKS's quota."""
    taken = {"system", "cpu", "cpu-small", "cpu-medium", "cpu-large"}
    names = draw(st.lists(NAMES.filter(lambda name: name not in taken), unique=True, max_size=most))
    return [CPU | {"zones": [ZONES[0]]}, *(draw(pool(name)) for name in names)]


def three(pools: list[dict[str, Any]]) -> dict[str, Any]:
    return LEAST | {"network": {"zones": list(ZONES)}, "pools": pools}


@given(lists(), STACKS)
@PLENTY
def test_names_of_any_pools_are_valid_and_unique(pools: list[dict[str, Any]], stack: str) -> None:
    found = aws(three(pools))
    groups = [system_of(found), *groups_of(found)]
    prefixes = [group.prefix(stack) for group in groups]
    assert len(set(prefixes)) == len({group.key for group in groups}) == len(groups)
    for group, prefix in zip(groups, prefixes, strict=True):
        assert len(prefix) + SUFFIX <= MAX_NODE_GROUP_NAME
        assert re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]*", prefix)
        for limit in (MAX_LOAD_BALANCER_NAME, MAX_ROLE_NAME):
            name = named(stack, group.key, limit=limit)
            assert len(name) <= limit
            assert re.fullmatch("[a-z][a-z0-9-]*[a-z0-9]", name)
    for each in pools_of(found):
        flavor = each.flavor()
        assert flavor is None or re.fullmatch("[a-z]([a-z0-9-]{0,61}[a-z0-9])?", flavor.metadata.name)


@given(lists(4), st.randoms(use_true_random=False), st.data())
@PLENTY
def test_names_after_adding_or_reordering_pools_are_unchanged(
    pools: list[dict[str, Any]], random: Any, data: st.DataObject
) -> None:
    before = aws(three(pools))
    taken = {each["name"] for each in pools} | {"system", "cpu-small", "cpu-medium", "cpu-large"}
    more = [*pools, data.draw(pool(data.draw(NAMES.filter(lambda name: name not in taken))))]
    random.shuffle(more)
    after = aws(three(more))
    groups = {(group.pool, group.zones): group for group in groups_of(after)}
    for group in groups_of(before):
        assert groups[group.pool, group.zones] == group
        assert groups[group.pool, group.zones].prefix("dev") == group.prefix("dev")
    assert set(pools_of(before)) < set(pools_of(after))


@given(lists())
@PLENTY
def test_node_groups_of_any_pools_follow_their_entries(pools: list[dict[str, Any]]) -> None:
    found = aws(three(pools))
    for entry, seen in zip(found.pools, pools_of(found), strict=True):
        groups = [group for group in groups_of(found) if group.pool == entry.name]
        assert sum(group.min for group in groups) == entry.min
        assert all(group.min <= group.max == seen.nodes == entry.max for group in groups)
        assert {zone for group in groups for zone in group.zones} == set(entry.zones or ZONES)
        assert entry.node_price is not None
        assert seen.cpu > 0
        assert seen.memory > 0


@given(st.integers(16, 20), st.integers(0, 2**20), st.sampled_from(["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]))
@PLENTY
def test_subnets_of_any_network_never_overlap_and_are_stable(prefix: int, place: int, block: str) -> None:
    whole = list(IPv4Network(block).subnets(new_prefix=prefix))
    cidr = str(whole[place % len(whole)])
    services = "10.0.0.0/16" if block.startswith("172") else "172.20.0.0/16"
    found = aws(network={"cidr": cidr, "zones": list(ZONES)}, kubernetes={"serviceCidr": services})
    parts = plan_subnets(found.network.cidr, found.network.zones)
    assert tuple(part.zone for part in parts) == ZONES
    subnets = [IPv4Network(each) for part in parts for each in (part.private, part.public)]
    assert all(each.subnet_of(IPv4Network(cidr)) for each in subnets)
    assert not any(a.overlaps(b) for a in subnets for b in subnets if a is not b)
    assert all(each.prefixlen <= 28 for each in subnets)  # ec2:CreateSubnet
    assert plan_subnets(cidr, ZONES[:2]) == parts[:2]


BREAKS: dict[str, dict[str, Any]] = {
    "family": {"family": "p3"},
    "size": {"size": "nano"},
    "max": {"max": 0},
    "min": {"min": 9, "max": 8, "capacity": "ON_DEMAND"},
    "zones": {"zones": ["eu-central-1f"]},
    "zone twice": {"zones": [ZONES[0], ZONES[0]]},
    "name": {"name": "Big"},
    "shipped name": {"name": "system"},
    "twice": {"name": "cpu"},
    "capacity": {"capacity": "FREE"},
    "reservation": {"reservationId": "cr-1"},
    "no block": {"family": "p5", "size": "48xlarge", "capacity": "CAPACITY_BLOCK", "reservationId": "", "min": 0},
    "fabric": {"family": "g5g", "size": "xlarge", "efa": True, "zones": [ZONES[0]], "capacity": "ON_DEMAND"},
    "share": {"family": "g6e", "size": "48xlarge", "gpusPerServer": 5},
    "price": {"pricePerHour": -1},
    "key": {"gpu": 1},
}


@given(lists(4), st.sampled_from(sorted(BREAKS)), st.data())
@PLENTY
def test_pools_with_one_wrong_entry_are_refused_by_key(
    pools: list[dict[str, Any]], how: str, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(pools)))
    pools.insert(place, data.draw(pool("other")) | BREAKS[how])
    with pytest.raises(SettingsError) as caught:
        load("test", raw(three(pools)), {}, TODAY)
    keys = [each.key for each in caught.value.problems]
    # Of two pools with one name, the later one is to change it.
    assert any(key.startswith((f"devservers:pools[{place}]", "devservers:pools[1].name")) for key in keys), keys


@pytest.mark.parametrize("wrong", [{"region": "x"}, {"pools": [CPU | {"family": "p3"}]}, {"network": {"zones": []}}])
def test_program_with_wrong_settings_creates_no_resource(
    wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = Graph()
    monkeypatch.setattr(recorder, "Graph", lambda: graph)
    with pytest.raises(pulumi.RunError, match="devservers:"):
        recorder.run(raw(**wrong), {}, stack="test")
    assert graph == {}
