"""The catalog of instance types and versions, checked against botocore's models."""

from __future__ import annotations

import gzip
import json
import re
from datetime import date
from importlib import resources
from itertools import pairwise, permutations
from typing import Any

import pytest

from infra.catalog import CHARTS, DEFAULT_VERSION, FAMILIES, RETIRED, VERSIONS, WITHOUT_PRICE, Family
from infra.catalog.prices import FILE, PRICES
from infra.deploy.prices import PINS
from infra.settings.aws.models import PoolSettings

SIZES = [(family, name) for family in FAMILIES.values() for name in family.sizes]
ADDONS = {
    *("vpc-cni", "kube-proxy", "coredns", "eks-pod-identity-agent", "aws-ebs-csi-driver", "aws-efs-csi-driver"),
    *("snapshot-controller", "eks-node-monitoring-agent", "amazon-cloudwatch-observability", "metrics-server"),
}


def shapes(service: str, version: str) -> dict[str, Any]:
    path = resources.files("botocore") / "data" / service / version / "service-2.json.gz"
    found: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))["shapes"]
    return found


@pytest.fixture(scope="module")
def ec2() -> dict[str, Any]:
    return shapes("ec2", "2016-11-15")


@pytest.fixture(scope="module")
def eks() -> dict[str, Any]:
    return shapes("eks", "2017-11-01")


def test_catalog_instance_types_exist_in_ec2(ec2: dict[str, Any]) -> None:
    known = set(ec2["InstanceType"]["enum"])
    assert {family.instance_type(size) for family, size in SIZES} <= known


def test_catalog_families_have_every_size(ec2: dict[str, Any]) -> None:
    left_out = {"t3": {"nano", "micro", "small"}} | {name: {"medium"} for name in ("m7a", "m7g", "m8g")}
    for family in FAMILIES.values():
        there = {each.partition(".")[2] for each in ec2["InstanceType"]["enum"] if each.startswith(f"{family.name}.")}
        rest = {size for size in there if "metal" not in size} - left_out.get(family.name, set())
        assert rest == set(family.sizes), family.name


def test_catalog_ami_and_capacity_types_exist_in_eks(eks: dict[str, Any]) -> None:
    assert {family.ami_type for family in FAMILIES.values()} <= set(eks["AMITypes"]["enum"])
    assert {each for family in FAMILIES.values() for each in family.capacities} <= set(eks["CapacityTypes"]["enum"])
    declared = PoolSettings.model_json_schema()["properties"]["capacity"]["enum"]
    assert set(declared) == set(eks["CapacityTypes"]["enum"])


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_catalog_family_architecture_matches_its_ami(family: Family) -> None:
    # AWS names Graviton families with a g behind the generation; GB200 comes with NVIDIA's own ARM processor.
    arm = bool(re.match(r"[a-z]+[0-9]g", family.name)) or family.name == "p6e-gb200"
    assert family.architecture == ("arm64" if arm else "amd64")
    assert ("ARM_64" in family.ami_type) == arm
    assert family.ami_type.endswith("NVIDIA" if family.gpu else "STANDARD")
    assert bool(family.gpu) == bool(family.gpu_memory) == all(size.gpus for size in family.sizes.values())


@pytest.mark.parametrize(("family", "name"), SIZES, ids=[family.instance_type(name) for family, name in SIZES])
def test_catalog_size_figures_are_plausible(family: Family, name: str) -> None:
    size = family.sizes[name]
    assert size.price is None or 0.02 < size.price < 200
    assert size.memory % 2 == 0
    assert 2 <= size.memory / size.vcpus <= 24
    assert size.gpus <= 8
    assert size.efa_cards <= 32
    assert size.efa_first == 0 or size.efa_cards
    assert size.price is None or (0.2 < size.price / size.gpus < 20 if size.gpus else size.price < 0.1 * size.vcpus)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_catalog_larger_size_costs_more(family: Family) -> None:
    priced = [size for size in family.sizes.values() if size.price is not None]
    for less, more in permutations(priced, 2):
        if less.gpus <= more.gpus and less.vcpus < more.vcpus:
            assert (less.price or 0) < (more.price or 0)


def test_catalog_prices_match_the_price_file() -> None:
    """Every type has a price in the file or a reason why not; the file has no other type."""
    types = {family.instance_type(size) for family, size in SIZES}
    assert types - set(PRICES.on_demand) == set(WITHOUT_PRICE)
    assert set(PRICES.on_demand) - types == set()
    for family, name in SIZES:
        assert family.sizes[name].price == PRICES.on_demand.get(family.instance_type(name))


def test_price_file_is_of_the_pinned_release() -> None:
    """Whoever raises the pin runs `make prices`."""
    content = json.loads(FILE.read_text())
    checksum = f"{content['module'].replace('@', ' ')} {content['checksum']}"
    assert checksum in (PINS / "go.sum").read_text().splitlines()
    assert f"require {content['module'].replace('@', ' ')}\n" in (PINS / "go.mod").read_text()
    assert content["source"].startswith(f"https://{content['module'].replace('@', '/blob/')}/")
    assert date.fromisoformat(content["generated"]) > date(2026, 2, 9), "no older than the list before it"
    assert "Apache-2.0" in content["licence"]


def test_retired_family_names_an_offered_replacement() -> None:
    assert not set(RETIRED) & set(FAMILIES)
    assert all(text.partition(",")[0] in FAMILIES for text in RETIRED.values())
    assert "4xlarge" in FAMILIES["p5"].sizes


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_version_pins_every_addon(version: str) -> None:
    known = VERSIONS[version]
    assert set(known.addons) == ADDONS
    assert known.unchecked <= ADDONS
    assert all(re.fullmatch(r"v\d+\.\d+\.\d+-eksbuild\.\d+", pin) for pin in known.addons.values())
    assert known.addons["kube-proxy"].startswith(f"v{version}.")
    assert known.autoscaler.startswith(f"v{version}.")
    assert known.extended_until > known.standard_until


def test_newer_kubernetes_version_has_longer_support() -> None:
    assert all(a.standard_until < b.standard_until for a, b in pairwise(VERSIONS.values()))
    assert list(VERSIONS)[-1] == DEFAULT_VERSION


def test_charts_are_pinned_and_served_over_https() -> None:
    for chart in CHARTS.values():
        assert chart.repository.startswith("https://")
        assert re.fullmatch(r"v?\d+\.\d+\.\d+", chart.version)
