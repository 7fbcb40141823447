"""Fast starts: settings and refusals, placeholders, pre-pulls and what they cost."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from devservers.api.shipped_flavors import SHIPPED
from devservers_core.names import GPU
from infra.cost.estimate import Line
from infra.cost.estimator import estimate
from infra.cost.resource_counter import ResourceCounter
from infra.platform.fast_starts import headroom, pre_pull
from infra.platform.manifest import SKIP_AWAIT
from infra.platform.pools import Pool
from infra.preview.simulation import Simulation, simulate
from infra.preview.stackfile import read
from infra.preview.subjects import findings_in
from infra.settings.loading import load
from infra.settings.platform.fast_starts import FastStarts, Headroom
from infra.settings.problems import SettingsError
from infra.settings.stack import Images
from tests.support.infra.aws_graph import DEV, settings
from tests.support.infra.local_settings import raw
from tests.support.infra.simulated import simulated

IMAGES = Images(operator="l/op:1", agent="l/agent:1", base="l/base:1", bastion="l/bastion:1")
CUDA = "ghcr.io/team/cuda:12.4"
CPU = Pool("cpu", nodes=3, cpu=7500, memory=28000)
A10G = Pool("a10g", nodes=2, cpu=15500, memory=60000, gpus=2, gpus_per_server=1, disk=140, gpu_model="A10G")
LOCAL = Pool("local", nodes=1, cpu=1500, memory=7000, labelled=False)
SMALL = SHIPPED[0]
POOLS = [
    {"name": "cpu", "family": "m7i", "size": "2xlarge", "max": 4, "zones": ["eu-central-1a"]},
    {"name": "gpu", "family": "g6e", "size": "12xlarge", "max": 2, "gpusPerServer": 1},
]


def aws_raw(fast_starts: dict[str, Any]) -> dict[str, str]:
    values = DEV | {"pools": POOLS, "cluster": "aws", "fastStarts": fast_starts, "users": []}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def problems(config: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        load("dev" if config["cluster"] == "aws" else "local", config, {})
    return str(caught.value)


def test_fast_starts_are_off_by_default() -> None:
    assert not load("local", raw(), {}).fast_starts.enabled
    assert not simulated("local").graph.of("DaemonSet")
    assert not simulated("local").graph.of("PriorityClass")


@pytest.mark.parametrize(
    ("fast_starts", "expected"),
    [
        ({"prepull": []}, "fastStarts.prepull = []: no such key; allowed: prePull (nearest)"),
        ({"prePull": [CUDA]}, "devservers:fastStarts.prePull[0] = ghcr.io/team/cuda:12.4"),
        ({"prePull": [{"image": "UPPER:1"}]}, "prePull[0].image = UPPER:1: not an image reference"),
        ({"prePull": [{"image": "team/cuda:latest"}]}, "an image whose tag moves; name a version's tag or a digest"),
        ({"prePull": [{"image": "team/cuda"}]}, "an image which has neither tag nor digest"),
        ({"prePull": [{"image": CUDA}, {"image": CUDA}]}, "it is there twice, first as fastStarts.prePull[0]"),
        ({"prePull": [{"image": CUDA, "pools": ["locl"]}]}, "no such pool\n  use local"),
        ({"headroom": [{"pool": "local"}]}, "headroom[0].servers = (unset): not set; allowed: 1 to 100"),
        ({"headroom": [{"pool": "local", "servers": 0}]}, "headroom[0].servers = 0: "),
        ({"headroom": [{"pool": "local", "servers": 101}]}, "allowed: 1 to 100"),
        ({"headroom": [{"pool": "gpu-fake", "servers": 1}]}, "this stack has no such pool\n  use local"),
        (
            {"headroom": [{"pool": "local", "flavor": "gpu", "servers": 1}]},
            "servers of that flavor don't run in pool local\n  use cpu-small or cpu-medium or cpu-large",
        ),
        (
            {"headroom": [{"pool": "local", "servers": 1}, {"pool": "local", "flavor": "cpu-small", "servers": 1}]},
            "pool local has an entry for flavor cpu-small already\n  add its servers to the first one",
        ),
    ],
)
def test_bad_fast_starts_of_a_local_stack_are_refused(fast_starts: dict[str, Any], expected: str) -> None:
    assert expected in problems(raw(fastStarts=fast_starts))


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"pool": "gpus", "servers": 1}, "this stack has no such pool\n  use gpu"),
        ({"pool": "gpu", "flavor": "cpu-small", "servers": 1}, "don't run in pool gpu\n  use gpu"),
        ({"pool": "gpu", "servers": 9}, "9 servers of gpu take 3 nodes, and the pool has at most 2\n  use at most 8"),
        ({"pool": "cpu", "flavor": "cpu-large", "servers": 13}, "take 5 nodes, and the pool has at most 4\n"),
    ],
)
def test_bad_headroom_on_aws_is_refused(entry: dict[str, Any], expected: str) -> None:
    assert expected in problems(aws_raw({"headroom": [entry]}))


def test_headroom_of_a_flavor_too_large_for_its_nodes_is_refused() -> None:
    small = {"name": "small", "family": "m7i", "size": "large", "max": 4}
    config = aws_raw({"headroom": [{"pool": "small", "flavor": "cpu-large", "servers": 1}]})
    said = problems(config | {"pools": json.dumps([*POOLS, small])})
    assert "a node of pool small (m7i.large) has no room for a server of that flavor" in said


def test_placeholder_asks_for_what_a_server_asks_for() -> None:
    made = headroom.deployment(CPU, SMALL, 2, "l/base:1", [])
    assert made["spec"]["replicas"] == 2
    pod = made["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"] == {"requests": {"cpu": "500m", "memory": "512Mi", "ephemeral-storage": "1Gi"}}
    assert pod["nodeSelector"] == {"devservers.io/pool": "cpu"}
    assert "tolerations" not in pod


def test_placeholder_of_a_gpu_flavor_takes_its_gpu() -> None:
    flavor = A10G.flavor()
    assert flavor
    made = headroom.deployment(A10G, flavor, 1, "l/base:1", ["company"])
    assert made["metadata"]["name"] == "headroom-a10g"
    pod = made["spec"]["template"]["spec"]
    resources = pod["containers"][0]["resources"]
    assert (resources["requests"][GPU], resources["limits"]) == ("1", {GPU: "1"})
    assert pod["tolerations"] == [
        {"key": GPU, "operator": "Equal", "value": "present", "effect": "NoSchedule"},
    ]
    assert pod["imagePullSecrets"] == [{"name": "company"}]


def test_placeholder_gives_way_at_once_and_to_everybody() -> None:
    """The cluster autoscaler leaves pods below -10 alone, and a server has priority 0."""
    priority = headroom.priority_class()
    assert (priority["value"], priority["preemptionPolicy"], priority["globalDefault"]) == (-5, "Never", False)
    pod = headroom.deployment(LOCAL, SMALL, 1, "l/base:1", [])["spec"]["template"]
    assert pod["spec"]["priorityClassName"] == priority["metadata"]["name"]
    assert pod["spec"]["terminationGracePeriodSeconds"] == 0
    assert not [label for label in pod["metadata"]["labels"] if label.startswith("kueue")]
    assert "nodeSelector" not in pod["spec"]


def test_pre_pull_runs_nothing_of_the_listed_images() -> None:
    images = pre_pull.images_of(CPU, IMAGES, [(CUDA, ()), ("team/other:1", ["a10g"])])
    assert images == ["l/agent:1", "l/base:1", CUDA]
    pod = pre_pull.daemon_set(CPU, images, IMAGES, [])["spec"]["template"]["spec"]
    install, pull = pod["initContainers"]
    assert (install["image"], pull["image"]) == ("l/agent:1", CUDA)
    assert pull["command"] == ["/opt/devservers/bin/devserver-inspect", "command"]
    (mount,) = pull["volumeMounts"]
    assert mount == {"name": "programs", "mountPath": "/opt/devservers", "readOnly": True}


def test_pre_pull_goes_to_the_nodes_of_its_pool_only() -> None:
    cpu, gpu, local = (
        pre_pull.daemon_set(pool, [CUDA], IMAGES, [])["spec"]["template"]["spec"] for pool in (CPU, A10G, LOCAL)
    )
    assert cpu["nodeSelector"] == {"devservers.io/pool": "cpu"}
    assert "tolerations" not in cpu
    assert gpu["nodeSelector"] == {"devservers.io/pool": "a10g"}
    assert gpu["tolerations"] == [{"key": GPU, "operator": "Equal", "value": "present", "effect": "NoSchedule"}]
    assert "nodeSelector" not in local


def test_pre_pull_of_another_pool_leaves_a_pool_alone() -> None:
    assert pre_pull.images_of(CPU, IMAGES, [(CUDA, ["a10g"])]) == []


@cache
def fast(stack: str, pool: str) -> Simulation:
    """A committed stack with fast starts."""
    file = read(stack)
    wanted = {
        "prePull": [{"image": CUDA}],
        "headroom": [{"pool": pool, "servers": 1}],
    }
    return simulate(replace(file, config=file.config | {"fastStarts": json.dumps(wanted)}))


@pytest.mark.parametrize(("stack", "pool"), [("local", "local"), ("dev", "gpu-l4")])
class TestProgram:
    """What the program makes of a committed stack that has fast starts."""

    def test_program_makes_one_pre_pull_for_each_pool_of_nodes(self, stack: str, pool: str) -> None:
        names = [node.inputs["metadata"]["name"] for node in fast(stack, pool).graph.of("DaemonSet")]
        assert names == {"local": ["pre-pull-local"], "dev": ["pre-pull-cpu", "pre-pull-gpu-l4"]}[stack]

    def test_program_makes_headroom_after_its_priority(self, stack: str, pool: str) -> None:
        graph = fast(stack, pool).graph
        (made,) = [node for node in graph.of("Deployment") if "headroom" in node.name]
        assert made.inputs["metadata"]["namespace"] == "devservers-system"
        assert made.inputs["metadata"]["annotations"][SKIP_AWAIT] == "true"
        kinds = {graph[urn].kind for urn in graph.before(made)}
        assert {"PriorityClass", "Namespace"} <= kinds

    def test_program_with_fast_starts_keeps_every_policy_rule(self, stack: str, pool: str) -> None:
        before, after = simulated(stack).graph, fast(stack, pool).graph
        assert [str(each) for each in findings_in(after)] == [str(each) for each in findings_in(before)]


def of_pool(line: str, *entries: Headroom) -> Line:
    aws = settings(DEV, pools=POOLS)
    return next(each for each in estimate("dev", aws, ResourceCounter(), entries).pools if each.what == line)


def test_cost_with_headroom_counts_the_nodes_it_keeps() -> None:
    """Two servers on one GPU of four each take one node, which runs all month."""
    plain, kept = of_pool("gpu"), of_pool("gpu", Headroom(pool="gpu", servers=2))
    node = plain.maximum / 2
    assert plain.minimum == 0
    assert kept.minimum == pytest.approx(node)
    # Two zones have node groups of two nodes each, and Kueue keeps servers to two nodes.
    assert kept.maximum == pytest.approx(3 * node)
    assert kept.detail.endswith("headroom keeps 1 running")


def test_cost_with_headroom_in_one_zone_stays_within_the_maximum() -> None:
    plain, kept = of_pool("cpu"), of_pool("cpu", Headroom(pool="cpu", servers=1))
    assert kept.maximum == plain.maximum
    assert kept.minimum == pytest.approx(plain.maximum / 4)


def test_cost_of_the_program_has_its_headroom() -> None:
    before, after = simulated("dev").cost, fast("dev", "gpu-l4").cost
    assert before
    assert after
    assert after.minimum > before.minimum


def test_fast_starts_settings_describe_allowed_values() -> None:
    for model in (FastStarts, Headroom):
        for name, field in model.model_fields.items():
            extra = field.json_schema_extra
            assert isinstance(extra, dict), name
            assert extra["allowed"], name
