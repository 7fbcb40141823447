"""Settings of an AWS environment: defaults and every refusal."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from infra import ROOT
from infra.catalog.images import PLATFORM, PYTORCH
from infra.settings.aws import access, models
from infra.settings.aws.models import KEYS, Aws
from infra.settings.loading import load
from infra.settings.problems import Problem, SettingsError, allowed_at, model_in
from tests.support.infra.environments import CPU, GPU, LEAST, PRODUCTION, STACKS, TODAY, aws, committed, raw

ZONES = ["eu-central-1a", "eu-central-1b"]
BLOCK = {"name": "train", "family": "p5", "size": "48xlarge", "max": 2, "capacity": "CAPACITY_BLOCK"}
RESERVATION = {"reservationId": "cr-0123456789abcdef0", "zones": ["eu-central-1a"]}
FABRIC = {"name": "train", "family": "g6e", "size": "48xlarge", "max": 2, "efa": True}


def refused(config: dict[str, str], stack: str = "test", today: date = TODAY) -> tuple[Problem, ...]:
    with pytest.raises(SettingsError) as caught:
        load(stack, config, {}, today)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2 * len(caught.value.problems), lines
    return caught.value.problems


def network(base: dict[str, Any] = LEAST, **changes: Any) -> dict[str, str]:
    return raw(base, network=base["network"] | changes)


def pools(*more: dict[str, Any], **changes: Any) -> dict[str, str]:
    return raw(pools=[CPU, GPU | changes, *more])


# Configuration; key below devservers:, value as shown; a part of the reason; a part of the remedy.
Refusal = tuple[dict[str, str], str, str, str, str]
FIELDS: list[Refusal] = [
    (raw(overcommit={"cpu": 2}), "overcommit.cpu", "2", "it is 1 there", "remove it"),
    (raw(overcommit={"memory": 1.5}), "overcommit.memory", "1.5", "it is 1 there", "remove it"),
    (raw(region=None), "region", "(unset)", "not set; allowed: a region", "config set"),
    (raw(environment="qa"), "environment", "qa", "allowed: dev, staging or prod", "config set"),
    (raw(environment=""), "environment", "(unset)", "not set", "config set"),
    (raw(region="frankfurt"), "region", "frankfurt", "not an AWS region", "config set"),
    (raw(accountId="1111"), "accountId", "1111", "12 digits, in quotes", "config set"),
    (raw(costCenter="Zürich"), "costCenter", "Zürich", "not a tag's value", "config set"),
    (raw(owner="<me>"), "owner", "<me>", "not a tag's value", "config set"),
    (raw(pools=[]), "pools", "(unset)", "not set", "config set"),
    (raw(network=None), "network", "(unset)", "not set", "config set"),
    (network(zones="a"), "network.zones", "a", "two or three zones", "config set"),
    (network(nat="none"), "network.nat", "none", "single, zonal or regional", "config set"),
    (network(logDays=8), "network.logDays", "8", "a number of days CloudWatch knows", "config set"),
    (network(zone=["a"]), "network.zone", '["a"]', "no such key; allowed: zones (nearest)", "config set"),
    (raw(edge={"port": 0}), "edge.port", "0", "allowed: 22 or 443", "config set"),
    (raw(edge={"hostname": "SSH.example.com"}), "edge.hostname", "SSH.example.com", "not a DNS name", "config set"),
    (raw(access={"administrators": ["root"]}), "access.administrators[0]", "root", "not the ARN", "config set"),
    (raw(access={"creator": "ann"}), "access.creator", "ann", "not the ARN of an IAM role", "config set"),
    (raw(access={"github": {"repository": "x"}}), "access.github.repository", "x", "owner/name", "config set"),
    (pools(max=0), "pools[1].max", "0", "allowed: 1 to 1000", "pools[1].max VALUE"),
    (pools(name="GPU"), "pools[1].name", "GPU", "not a pool's name", "config set"),
    (pools(capacity="CHEAP"), "pools[1].capacity", "CHEAP", "ON_DEMAND, SPOT or CAPACITY_BLOCK", "config set"),
    (pools(reservationId="r"), "pools[1].reservationId", "r", "not a capacity reservation", "config set"),
    (pools(gpus=1), "pools[1].gpus", "1", "no such key", "config set"),
    (raw(pool=[CPU]), "pool", json.dumps([CPU]), "no such key", "use pools"),
    (raw(images=None), "images.operator", "(unset)", "not set", "set devservers:registry.build to true"),
]  # fmt: skip
NETWORK: list[Refusal] = [
    (network(cidr="10.0.0.300/16"), "network.cidr", "10.0.0.300/16", "not an IPv4 network", "numbers up to 255"),
    (network(cidr="10.0.0.0/33"), "network.cidr", "10.0.0.0/33", "not an IPv4 network", "a length up to 32"),
    (network(cidr="10.0.1.0/16"), "network.cidr", "10.0.1.0/16", "an address within a network", "write 10.0.0.0/16"),
    (network(cidr="11.0.0.0/16"), "network.cidr", "11.0.0.0/16", "not private", "take a network of 10.0.0.0/8"),
    (network(cidr="100.128.0.0/16"), "network.cidr", "100.128.0.0/16", "not private", "100.64.0.0/10"),
    (network(cidr="10.0.0.0/15"), "network.cidr", "10.0.0.0/15", "too big for a VPC", "take a /16 to a /20"),
    (network(cidr="10.0.0.0/21"), "network.cidr", "10.0.0.0/21", "too small for a VPC", "take a /16 to a /20"),
    (network(cidr="172.20.0.0/16"), "kubernetes.serviceCidr", "172.20.0.0/16", "it overlaps network.cidr", "like 10.0"),
    (raw(kubernetes={"serviceCidr": "10.0.8.0/24"}), "kubernetes.serviceCidr", "10.0.8.0/24", "overlaps", "10.1.0.0"),
    (raw(kubernetes={"serviceCidr": "100.64.0.0/16"}), "kubernetes.serviceCidr", "100.64.0.0/16", "EKS takes", "/12"),
    (raw(kubernetes={"serviceCidr": "10.9.0.0/25"}), "kubernetes.serviceCidr", "10.9.0.0/25", "EKS takes no", "/24"),
    (network(reservedCidrs=["10.0.128.0/17"]), "network.reservedCidrs[0]", "10.0.128.0/17", "network.cidr", "10.1.0.0"),
    (network(reservedCidrs=["172.16.0.0/12"]), "network.reservedCidrs[0]", "172.16.0.0/12", "serviceCidr", "10.1.0.0"),
    (network(reservedCidrs=["10.1.0.1/24"]), "network.reservedCidrs[0]", "10.1.0.1/24", "an address", "10.1.0.0/24"),
    (network(zones=ZONES[:1]), "network.zones", '["eu-central-1a"]', "two zones at least", "like eu-central-1b"),
    (network(zones=[]), "network.zones", "[]", "two zones at least", "like eu-central-1a"),
    (network(zones=[f"eu-central-1{each}" for each in "abcd"]), "network.zones",
     '["eu-central-1a", "eu-central-1b", "eu-central-1c", "eu-central-1d"]', "3 zones at most", "leave 3"),
    (network(zones=[*ZONES, ZONES[0]]), "network.zones[2]", "eu-central-1a", "twice, first as network.zones[0]",
     "remove one of them"),
    (network(zones=["eu-west-1a", ZONES[1]]), "network.zones[0]", "eu-west-1a", "not in eu-central-1", "eu-central-1a"),
    (network(PRODUCTION, zones=ZONES), "network.zones", json.dumps(ZONES), "goes on when one zone fails", "1c"),
    (network(PRODUCTION, nat="single"), "network.nat", "single", "no server in production has a way out", "regional"),
]  # fmt: skip
ACCESS: list[Refusal] = [
    (raw(kubernetes={"publicAccessCidrs": ["0.0.0.0/0"]}), "kubernetes.publicAccessCidrs[0]", "0.0.0.0/0",
     "opens the API server to the world", "offices, VPN and runners"),
    (raw(kubernetes={"publicAccessCidrs": ["8.8.8.0/24", "128.0.0.0/1"]}), "kubernetes.publicAccessCidrs[1]",
     "128.0.0.0/1", "opens the API server to the world", "203.0.113.0/24"),
    (raw(kubernetes={"publicAccessCidrs": ["10.0.0.0/8"]}), "kubernetes.publicAccessCidrs[0]", "10.0.0.0/8",
     "nobody on the internet", "remove it"),
    (raw(kubernetes={"publicAccessCidrs": [f"8.8.{each}.0/24" for each in range(41)]}), "kubernetes.publicAccessCidrs",
     json.dumps([f"8.8.{each}.0/24" for each in range(41)])[:77] + "...", "EKS takes 40", "join"),
    (raw(PRODUCTION, kubernetes={"publicAccessCidrs": ["8.8.8.0/24"]}), "kubernetes.publicAccessCidrs",
     '["8.8.8.0/24"]', "inside the VPC only", "remove kubernetes.publicAccessCidrs"),
    (raw(PRODUCTION, edge={"allowedCidrs": ["0.0.0.0/0"]}), "edge.allowedCidrs[0]", "0.0.0.0/0",
     "opens production's SSH to the world", "offices and VPN"),
    (raw(edge={"allowedCidrs": ["8.8.8.0/24"] * 2}), "edge.allowedCidrs[1]", "8.8.8.0/24", "twice", "remove one"),
    (raw(edge={"allowedCidrs": ["8.8.8.8/24"]}), "edge.allowedCidrs[0]", "8.8.8.8/24", "an address", "8.8.8.0/24"),
    (raw(edge={"hostname": "ssh.example.com"}), "edge.hostname", "ssh.example.com", "no hosted zone",
     "set edge.hostedZone"),
    (raw(edge={"hostname": "ssh.example.org", "hostedZone": {"name": "example.com"}}), "edge.hostname",
     "ssh.example.org", "not in the hosted zone example.com", "ends in .example.com"),
    (raw(edge={"hostname": "badexample.com", "hostedZone": {"name": "example.com"}}), "edge.hostname",
     "badexample.com", "not in the hosted zone example.com", "ends in .example.com"),
    (raw(edge={"hostedZone": {"name": "example.com"}}), "edge.hostedZone.name", "example.com", "nothing is named",
     "ssh.example.com"),
    (raw(access={"administrators": ["arn:aws:iam::111122223333:role/a"] * 2}), "access.administrators[1]",
     "arn:aws:iam::111122223333:role/a", "twice", "remove one"),
    (raw(access={"github": {"repository": "acme/platform", "ownerId": 5}}), "access.github.repositoryId", "0",
     "by both ids or by none", "--jq '.owner.id,.id' prints"),
    (raw(access={"github": {"repository": "acme/platform", "repositoryId": 5}}), "access.github.ownerId", "0",
     "by both ids or by none", "--jq '.owner.id,.id' prints"),
    (raw(access={"github": {"repository": "acme/platform"}, "stateBucket": "acme-state"}), "access.stateKey", "(unset)",
     "could not decrypt the stack's secrets", "set it to the key's ARN"),
    (raw(observability={"monthlyBudget": 10}), "observability.monthlyBudget", "10.0", "nobody", "observability.emails"),
    (raw(kubernetes={"version": "1.33"}), "kubernetes.version", "1.33", "not a version whose add-ons", "1.36"),
    (raw(kubernetes={"version": "1.9"}), "kubernetes.version", "1.9", "1.34, 1.35, 1.36", "set it to 1.36 or 1.35"),
]  # fmt: skip
POOLS: list[Refusal] = [
    (pools(family="g6x"), "pools[1].family", "g6x", "no family of infra/catalog", "(nearest)"),
    (pools(family="quantum"), "pools[1].family", "quantum", "no family of infra/catalog", "use one of m7i"),
    (pools(family="p3", size="2xlarge"), "pools[1].family", "p3", "EC2 no longer offers", "or p5 with size 4xlarge"),
    (pools(size="3xlarge"), "pools[1].size", "3xlarge", "g6e has no such size", "use one of xlarge, 2xlarge"),
    (raw(system={"family": "m7x"}), "system.family", "m7x", "no family", "(nearest)"),
    (raw(system={"size": "tiny"}), "system.size", "tiny", "m7i has no such size", "use one of large"),
    (raw(system={"family": "g6", "size": "xlarge"}), "system.family", "g6", "need no GPU", "m7i"),
    (raw(system={"min": 5}), "system.min", "5", "more than system.max, which is 4", "set system.max to 5"),
    (pools(min=5), "pools[1].min", "5", "more than pools[1].max, which is 4", "set pools[1].max to 5 or more"),
    (pools(zones=["eu-central-1c"]), "pools[1].zones[0]", "eu-central-1c", "no subnets there", "take one of those"),
    (pools(zones=[ZONES[0]] * 2), "pools[1].zones[1]", "eu-central-1a", "it is there twice", "remove one of them"),
    (pools(capacity="CAPACITY_BLOCK", **RESERVATION), "pools[1].capacity", "CAPACITY_BLOCK", "g6e has no such capacity",
     "set it to ON_DEMAND, SPOT"),
    (pools(family="p5e", size="48xlarge", pricePerHour=40), "pools[1].capacity", "ON_DEMAND",
     "p5e has no such capacity", "set it to CAPACITY_BLOCK"),
    (pools(BLOCK | {"zones": ZONES[:1]}), "pools[2].reservationId", "(unset)", "a capacity block is bought before",
     "aws ec2 purchase-capacity-block"),
    (pools(BLOCK | RESERVATION | {"min": 1}), "pools[2].min", "1", "a block ends", "set it to 0"),
    (pools(BLOCK | RESERVATION | {"zones": []}), "pools[2].zones", "(unset)", "a capacity block is in one zone",
     '["eu-central-1a"]'),
    (pools(capacity="SPOT", **RESERVATION), "pools[1].reservationId", "cr-0123456789abcdef0", "don't run in",
     "set pools[1].capacity to ON_DEMAND"),
    (pools(**RESERVATION | {"zones": ZONES}), "pools[1].zones", json.dumps(ZONES), "a reservation is in one zone",
     "to that zone alone"),
    (pools(FABRIC | {"zones": ZONES[:1], "gpusPerServer": 1}), "pools[2].gpusPerServer", "1",
     "4 EFA interfaces for 8 GPUs", "use 2 or 4 or 8, or set"),
    (pools(efa=True, zones=ZONES[:1]), "pools[1].efa", "true", "g6e.2xlarge has no EFA", "use size 8xlarge or"),
    (pools(family="g5g", size="2xlarge", efa=True, zones=ZONES[:1]), "pools[1].efa", "true", "g5g.2xlarge has no EFA",
     "use a family with it"),
    (pools(FABRIC), "pools[2].zones", "(unset)", "a cluster placement group", "to that zone alone"),
    (pools(gpusPerServer=3), "pools[1].gpusPerServer", "3", "g6e.2xlarge has 1", "use one of 1"),
    (pools(size="48xlarge", gpusPerServer=3), "pools[1].gpusPerServer", "3", "some would never be used", "1, 2, 4, 8"),
    (raw(pools=[CPU | {"gpusPerServer": 1}]), "pools[0].gpusPerServer", "1", "m7i has no GPUs", "like g6e"),
    (pools(family="p5e", size="48xlarge", capacity="CAPACITY_BLOCK", **RESERVATION),
     "pools[1].pricePerHour", "(unset)", "no price of p5e.48xlarge", "set pools[1].pricePerHour"),
    (pools(name="cpu"), "pools[1].name", "cpu", "pool cpu is there twice, first as pools[0]", "a name of its own"),
    (pools(name="system"), "pools[1].name", "system", "the platform's own nodes", "take another name"),
    (pools(name="cpu-small"), "pools[1].name", "cpu-small", "shipped with the platform", "like g6e-2xlarge"),
    (raw(pools=[GPU]), "pools", "1 pool", "all have GPUs", "add a CPU pool"),
    (raw(pools=[CPU | {"family": "t3", "size": "large"}, GPU]), "pools", "2 pools", "flavor cpu-large (2 CPU",
     "a bigger size"),
    (raw(PRODUCTION, pools=[CPU] + [GPU | {"name": f"gpu-{each}"} for each in range(9)]), "pools", "10 pools",
     "they are 31; EKS takes 30", "fewer zones"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "key", "value", "reason", "remedy"),
    [*FIELDS, *NETWORK, *ACCESS, *POOLS],
    ids=[f"{key}={value}"[:60] for _, key, value, _, _ in (*FIELDS, *NETWORK, *ACCESS, *POOLS)],
)
def test_bad_setting_is_refused_with_key_value_reason_and_remedy(
    config: dict[str, str], key: str, value: str, reason: str, remedy: str
) -> None:
    found = [each for each in refused(config) if each.key == f"devservers:{key}" and reason in each.reason]
    assert found, [str(each) for each in refused(config)]
    assert found[0].value == value
    assert remedy in found[0].remedy


@pytest.mark.parametrize("config", [case[0] for case in (*NETWORK, *ACCESS, *POOLS)])
def test_bad_setting_is_reported_once(config: dict[str, str]) -> None:
    # A zone of another region may also not be one the network has; nothing else is told twice.
    assert len(refused(config)) == 1, [str(each) for each in refused(config)]


def test_minimal_settings_take_the_defaults() -> None:
    found = aws()
    assert (found.kubernetes.version, found.network.cidr, found.network.nat) == ("1.36", "10.0.0.0/16", "regional")
    assert not found.production
    assert aws(PRODUCTION).production
    assert found.kubernetes.public_access_cidrs == ()
    assert found.edge.allowed_cidrs == ()


def test_several_bad_settings_are_reported_together() -> None:
    config = raw(
        network={"cidr": "10.0.0.0/8", "zones": ["eu-central-1a"]},
        kubernetes={"version": "1.20", "publicAccessCidrs": ["0.0.0.0/0"]},
        edge={"hostname": "ssh.example.com"},
        pools=[GPU | {"family": "p3"}],
        users=[{"username": "root", "sshPublicKeys": []}],
    )
    keys = [each.key.removeprefix("devservers:") for each in refused(config)]
    assert keys == [
        *("network.cidr", "network.zones", "kubernetes.publicAccessCidrs[0]", "kubernetes.version"),
        *("pools[0].family", "edge.hostname", "users[0].username"),
    ]


class TestKubernetes:
    """A version is taken as long as somebody patches it."""

    def on(self, today: date, **kubernetes: str) -> tuple[Problem, ...]:
        return refused(raw(kubernetes={"version": "1.34"} | kubernetes), today=today)

    def test_kubernetes_version_in_standard_support_is_accepted(self) -> None:
        assert load("test", raw(kubernetes={"version": "1.34"}), {}, date(2026, 12, 1)).aws

    def test_kubernetes_version_in_extended_support_needs_the_setting(self) -> None:
        (found,) = self.on(date(2026, 12, 2))
        assert found.reason == "its standard support ended on 2026-12-02"
        assert found.remedy.startswith("set it to 1.36 or 1.35, or set kubernetes.support to EXTENDED")
        extended = raw(kubernetes={"version": "1.34", "support": "EXTENDED"})
        assert load("test", extended, {}, date(2027, 12, 1)).aws

    def test_kubernetes_version_out_of_support_is_refused(self) -> None:
        (found,) = self.on(date(2027, 12, 2), support="EXTENDED")
        assert found.reason == "EKS ended its support on 2027-12-02"

    def test_kubernetes_version_with_all_expired_names_the_catalog(self) -> None:
        assert "infra/catalog" in self.on(date(2040, 1, 1))[0].remedy


def test_stack_named_for_another_environment_is_refused() -> None:
    (found,) = refused(raw(), stack="prod")
    assert (found.key, found.value) == ("devservers:environment", "dev")
    assert "set it to prod" in found.remedy


def test_reserved_networks_that_overlap_each_other_are_accepted() -> None:
    reserved = ["192.168.0.0/16", "192.168.4.0/24"]
    assert len(aws(network={"zones": ZONES, "reservedCidrs": reserved}).network.reserved_cidrs) == 2


def test_stack_name_invalid_for_a_load_balancer_is_refused() -> None:
    (found,) = refused(raw(), stack="Team_A.dev")
    assert (found.key, found.value) == ("the stack's name", "Team_A.dev")
    assert "pulumi stack rename" in found.remedy


def test_ssh_open_to_the_world_outside_production_is_accepted() -> None:
    assert aws(edge={"allowedCidrs": ["0.0.0.0/0"]}).edge.allowed_cidrs == ("0.0.0.0/0",)


def test_aws_keys_on_a_local_stack_are_refused() -> None:
    config = raw({}, cluster="local", images=LEAST["images"], region="eu-central-1",
                 users=[{"username": "ann", "sshPublicKeys": []}], pools=[CPU])  # fmt: skip
    found = {each.key: each.remedy for each in refused(config) if each.reason == "no such key"}
    remedy = "remove it: it is for cluster aws only; or set devservers:cluster to aws"
    assert found == {"devservers:region": remedy, "devservers:pools": remedy}


def test_empty_defaults_of_pulumi_yaml_count_as_absent() -> None:
    block = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    empty = raw({key: each["default"] for key, each in block.items() if key in KEYS})
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBkeyb0dyb0dyb0dyb0dyb0dyb0dyb0dyb0dyb0dyb0d ann@laptop"
    ours = raw({}, cluster="local", images=LEAST["images"],
               users=[{"username": "ann", "sshPublicKeys": [key]}])  # fmt: skip
    assert load("local", empty | ours, {}).aws is None
    assert load("test", empty | raw(), {}, TODAY).aws == aws()


class TestImages:
    """What an environment runs."""

    built = raw(images=None, registry={"build": True})

    def test_images_are_named_by_registry_and_content_hash(self) -> None:
        images = load("test", self.built, {}, TODAY).images
        host = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/devservers-test"
        assert {image.name: getattr(images, image.name) for image in PLATFORM} == {
            image.name: f"{host}/{image.name}:{image.digest()}" for image in PLATFORM
        }

    def test_images_with_one_given_use_it(self) -> None:
        images = load("test", self.built | raw({}, images={"base": "registry.example.com/base:1"}), {}, TODAY).images
        assert images.base == "registry.example.com/base:1"
        assert "dkr.ecr" in images.operator

    def test_gpu_flavors_have_the_pytorch_image_on_amd64_machines(self) -> None:
        gpu, arm = ({"name": name, "family": name, "size": "xlarge", "max": 1} for name in ("g6", "g5g"))
        cpu = {"name": "cpu", "family": "m7i", "size": "xlarge", "max": 1}
        images = load("test", self.built | raw({}, pools=[cpu, gpu, arm]), {}, TODAY).images
        assert images.pytorch == f"{images.base.rpartition('/')[0]}/pytorch:{PYTORCH.digest()}"
        assert load("test", self.built | raw({}, pools=[cpu, arm]), {}, TODAY).images.pytorch is None

    def test_images_ignore_the_local_stacks_variables(self) -> None:
        images = load("test", self.built, {"DEVSERVERS_IMAGE_BASE": "localhost/devservers/base:1"}, TODAY).images
        assert "dkr.ecr" in images.base

    def test_images_are_not_reported_with_another_bad_setting(self) -> None:
        assert [each.key for each in refused(self.built | {"region": ""})] == ["devservers:region"]


@pytest.mark.parametrize("stack", STACKS)
class TestCommitted:
    """The three stacks of the repository."""

    def test_committed_stack_is_valid_and_its_own_environment(self, stack: str) -> None:
        settings = load(stack, committed(stack), {}, TODAY)
        assert settings.aws is not None
        assert settings.aws.environment == stack

    def test_committed_stack_holds_no_secret_or_real_account(self, stack: str) -> None:
        text = (ROOT / "stacks" / f"Pulumi.{stack}.yaml").read_text()
        assert "secure:" not in text
        assert "BEGIN" not in text
        assert "AKIA" not in text
        settings = load(stack, committed(stack), {}, TODAY)
        assert settings.aws is not None
        assert len(set(settings.aws.account_id)) <= 4
        assert settings.aws.edge.hostname.endswith("example.com")


def test_state_bucket_without_github_needs_no_key() -> None:
    found = load("test", raw(access={"stateBucket": "acme-state"}), {}, TODAY).aws
    assert found is not None
    assert not found.access.state_key
    cloud = load("test", raw(access={"github": {"repository": "acme/platform"}}), {}, TODAY).aws
    assert cloud is not None
    assert cloud.access.github is not None


def test_committed_stacks_have_distinct_networks() -> None:
    loaded = {stack: load(stack, committed(stack), {}, TODAY).aws for stack in STACKS}
    found = {stack: each for stack, each in loaded.items() if each is not None}
    assert len({each.network.cidr for each in found.values()}) == len({each.account_id for each in found.values()}) == 3
    for stack in ("staging", "prod"):
        others = {each.network.cidr for name, each in found.items() if name != stack}
        assert others <= set(found[stack].network.reserved_cidrs)


def test_committed_dev_scales_gpus_to_zero_and_prod_is_private() -> None:
    dev, prod = (load(stack, committed(stack), {}, TODAY).aws for stack in ("dev", "prod"))
    assert dev is not None
    assert prod is not None
    assert dev.network.nat == "single"
    assert all(pool.min == 0 for pool in dev.pools)
    assert any(pool.capacity == "SPOT" for pool in dev.pools)
    assert prod.kubernetes.public_access_cidrs == ()
    assert len(prod.network.zones) == 3
    assert prod.production


def test_pulumi_yaml_documents_every_key_field_and_default() -> None:
    block = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    schema = Aws.model_json_schema()["properties"]
    empty: dict[str, Any] = {"string": "", "array": [], "object": {}}
    for key, field in KEYS.items():
        declared = block[key]
        kind = schema[key].get("type", "object")
        assert (declared["type"], declared["default"]) == (kind, empty[kind]), key
        words = declared["description"]
        assert words.startswith("With cluster aws, required" if field.is_required() else "With cluster aws:"), key
        for name, default in leaves(field.annotation):
            assert f"{name} ({default}" in words, f"{key}: {name} ({default}"


def leaves(annotation: object) -> list[tuple[str, str]]:
    """Every field of the model in an annotation, and of those within, with its default as descriptions spell it."""
    model = model_in(annotation)
    found = []
    for name, field in model.model_fields.items() if model else ():
        default = "required" if field.is_required() else pulumi_path(field.get_default())
        found += [(field.alias or name, default), *leaves(field.annotation)]
    return found


def pulumi_path(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, str):
        return value or '""'
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else (
        "[]" if value == () else ", ".join(value) if isinstance(value, tuple) else str(value)
    )  # fmt: skip


@pytest.mark.parametrize(
    "model",
    [
        each
        for module in (models, access)
        for each in vars(module).values()
        if getattr(each, "__module__", "") == module.__name__
    ],
)
def test_settings_fields_describe_allowed_values(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        if not issubclass(model_in(field.annotation) or object, BaseModel):
            assert allowed_at(model, [field.alias or name]), name


def test_settings_import_no_pulumi_sdk() -> None:
    """The SDKs take seconds to import, and the local stack reads its settings by the same module."""
    program = (
        "import sys, infra.settings.loading, infra.aws.cluster.pool_layout;"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'pulumi', 'pulumi_aws', 'pulumi_eks'}))"
    )
    env = {"PYTHONPATH": f"{ROOT}:{ROOT / 'core'}:{ROOT / 'operator'}"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "[]"
