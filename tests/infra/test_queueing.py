"""Kueue's objects and chart values, made from pools and settings."""

from __future__ import annotations

import asyncio
import json
import time
from decimal import Decimal
from typing import Any

import pulumi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster import modules
from devservers_core.names import GPU, PRIORITIES
from devservers_core.quantity import canonical, parse_quantity
from infra.local.capacity import Capacity, pools
from infra.platform.kueue import component, installation
from infra.platform.kueue.objects import cluster_queues, priority_classes, resource_flavors
from infra.platform.pools import Pool
from infra.settings.stack import Images, Queueing, Settings

IMAGES = Images(
    operator="localhost/op:1", agent="localhost/agent:1", base="localhost/base:1", bastion="localhost/bastion:1"
)
LOCAL = Settings(cluster="local", images=IMAGES)
CPU = Pool("cpu", nodes=3, cpu=7500, memory=28000)
A10G = Pool("a10g", nodes=2, cpu=15500, memory=60000, gpus=1)
H100 = Pool("h100", nodes=1, cpu=190000, memory=2000000, gpus=8)
FAKE = pools(Capacity(2000, 7808, fake_gpus=4), LOCAL)


def groups(queue: dict[str, Any]) -> list[dict[str, Any]]:
    return list(queue["spec"]["resourceGroups"])


def test_resource_group_of_pools_with_a_shared_resource_is_one() -> None:
    interactive, training = cluster_queues([CPU, A10G, H100], 100)
    (group,) = groups(interactive)
    assert group["coveredResources"] == ["cpu", "memory", GPU]
    assert [flavor["name"] for flavor in group["flavors"]] == ["cpu", "a10g", "h100"]
    quotas = {each["name"]: [item["nominalQuota"] for item in each["resources"]] for each in group["flavors"]}
    assert quotas["cpu"] == ["22500m", "84000Mi", "0"]
    assert quotas["h100"] == [canonical("190"), canonical("2000000Mi"), "8"]
    assert {item["nominalQuota"] for each in groups(training)[0]["flavors"] for item in each["resources"]} == {"0"}


def test_resource_group_of_local_gpus_is_separate() -> None:
    (general, gpus) = groups(cluster_queues(FAKE, 100)[0])
    assert general["coveredResources"] == ["cpu", "memory"]
    assert [flavor["name"] for flavor in general["flavors"]] == ["local"]
    assert gpus == {
        "coveredResources": [GPU],
        "flavors": [{"name": "gpu-fake", "resources": [{"name": GPU, "nominalQuota": "4"}]}],
    }


def test_cluster_queue_omits_an_empty_pool() -> None:
    assert groups(cluster_queues([Pool("none", nodes=0, cpu=4000, memory=8000)], 100)[0]) == []


_POOLS = st.lists(
    st.builds(
        Pool,
        st.from_regex(r"[a-z]{1,8}", fullmatch=True),
        nodes=st.integers(0, 50),
        cpu=st.integers(0, 200000),
        memory=st.integers(0, 4000000),
        gpus=st.integers(0, 8),
    ),
    max_size=6,
    unique_by=lambda pool: pool.name,
)


@given(_POOLS, st.integers(0, 100))
def test_cluster_queues_share_every_pools_whole_quota(pools: list[Pool], share: int) -> None:
    owned: dict[tuple[str, str], Decimal] = {}
    for queue in cluster_queues(pools, share):
        seen: list[str] = []
        for group in groups(queue):
            seen += group["coveredResources"]
            for flavor in group["flavors"]:
                # As the webhook wants it: every resource of the group, in its order.
                assert [item["name"] for item in flavor["resources"]] == group["coveredResources"]
                for item in flavor["resources"]:
                    amount = parse_quantity(item["nominalQuota"])
                    assert item["nominalQuota"] == canonical(item["nominalQuota"])
                    key = (flavor["name"], item["name"])
                    owned[key] = owned.get(key, Decimal(0)) + amount
        assert len(seen) == len(set(seen))
    have = {(pool.name, resource): parse_quantity(each) for pool in pools for resource, each in pool.quota().items()}
    assert {key: amount for key, amount in owned.items() if amount} == {k: v for k, v in have.items() if v}


@pytest.mark.parametrize(("share", "interactive", "training"), [(100, "8", "0"), (75, "6", "2"), (10, "0", "8")])
def test_cluster_queue_share_of_gpus_is_whole(share: int, interactive: str, training: str) -> None:
    for queue, expected in zip(cluster_queues([H100], share), (interactive, training), strict=True):
        (flavor,) = groups(queue)[0]["flavors"]
        assert flavor["resources"][2] == {"name": GPU, "nominalQuota": expected}


def test_cluster_queues_let_servers_reclaim_from_training() -> None:
    interactive, training = cluster_queues([CPU], 50)
    assert interactive["spec"]["preemption"] == {"reclaimWithinCohort": "Any", "withinClusterQueue": "LowerPriority"}
    assert training["spec"]["preemption"] == {"reclaimWithinCohort": "Never", "withinClusterQueue": "LowerPriority"}
    assert interactive["spec"]["cohortName"] == training["spec"]["cohortName"] == "devservers"
    for queue in (interactive, training):
        assert queue["apiVersion"] == "kueue.x-k8s.io/v1beta2"
        assert queue["spec"]["namespaceSelector"] == {
            "matchExpressions": [{"key": "devservers.io/user", "operator": "Exists"}]
        }


def test_resource_flavor_selects_its_pools_nodes() -> None:
    cpu, gpu = (each["spec"] for each in resource_flavors([CPU, A10G]))
    assert cpu == {"nodeLabels": {"devservers.io/pool": "cpu"}}
    assert gpu["nodeLabels"] == A10G.labels()
    assert gpu["nodeTaints"] == [{"key": GPU, "value": "present", "effect": "NoSchedule"}]
    assert [each["spec"] for each in resource_flavors(FAKE)] == [{}, {}]


def test_workload_priority_classes_equal_the_apis() -> None:
    assert {each["metadata"]["name"]: each["value"] for each in priority_classes()} == PRIORITIES
    assert all(each["description"] for each in priority_classes())


class TestKueue:
    """What its chart is told."""

    def configuration(self, settings: Settings) -> dict[str, Any]:
        return dict(json.loads(installation.values(settings)["managerConfig"]["controllerManagerConfigYaml"]))

    def test_kueue_config_manages_queued_pods_of_user_namespaces_only(self) -> None:
        configuration = self.configuration(LOCAL)
        assert configuration["manageJobsWithoutQueueName"] is False
        (expression,) = configuration["managedJobsNamespaceSelector"]["matchExpressions"]
        assert expression == {"key": "devservers.io/user", "operator": "Exists"}
        frameworks = {"pod", "batch/job", "jobset.x-k8s.io/jobset", "statefulset"}
        assert set(configuration["integrations"]["frameworks"]) == frameworks
        assert configuration["apiVersion"] == "config.kueue.x-k8s.io/v1beta2"

    def test_kueue_replicas_follow_the_cluster(self) -> None:
        one, two = installation.values(LOCAL), installation.values(LOCAL.model_copy(update={"cluster": "aws"}))
        assert one["controllerManager"]["replicas"] == 1
        assert "podDisruptionBudget" not in one["controllerManager"]
        assert two["controllerManager"]["replicas"] == 2
        assert two["controllerManager"]["podDisruptionBudget"] == {"enabled": True, "minAvailable": 1}
        assert self.configuration(LOCAL)["leaderElection"]["leaderElect"] is False
        three = LOCAL.model_copy(update={"queueing": Queueing(replicas=3)})
        assert self.configuration(three)["leaderElection"]["leaderElect"] is True

    def test_kueue_image_follows_the_stack(self) -> None:
        images = IMAGES.model_copy(update={"kueue": "registry.example.com:5000/kueue:7"})
        manager = installation.values(LOCAL.model_copy(update={"images": images}))["controllerManager"]["manager"]
        assert manager["image"] == {
            "repository": "registry.example.com:5000/kueue",
            "tag": "7",
            "pullPolicy": "IfNotPresent",
        }
        assert {"requests", "limits"} == set(manager["resources"])

    def test_kueue_version_is_the_same_everywhere(self) -> None:
        assert modules.KUEUE == installation.VERSION
        assert Images.model_fields["kueue"].default == f"registry.k8s.io/kueue/kueue:v{installation.VERSION}"

    def test_kueue_namespace_is_restricted_and_admits_the_api_server_only(self) -> None:
        labels = installation.namespace()["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
        deny, allow = installation.policies()
        assert deny["spec"] == {"policyTypes": ["Ingress"], "podSelector": {}}
        assert [port["port"] for rule in allow["spec"]["ingress"] for port in rule["ports"]] == [9443, 8082, 8443]
        assert "from" in allow["spec"]["ingress"][1]


class TestGate:
    """What is tried again while Kueue's webhook is on its way, and what is not."""

    def ask(self, *errors: str, seconds: int = 1) -> bool:
        failed = pulumi.ErrorHookArgs("urn", "", "local", "t", failed_operation="create", errors=list(errors))
        return asyncio.run(component.retry_while_webhook_starts(seconds)(failed))

    def test_gate_with_a_missing_webhook_retries(self) -> None:
        refused = 'Internal error occurred: failed calling webhook "mresourceflavor.kb.io": connection refused'
        begin = time.monotonic()
        assert self.ask(refused)
        assert 0.4 < time.monotonic() - begin < 5

    def test_gate_with_another_refusal_gives_up(self) -> None:
        assert not self.ask("admission webhook denied the request: invalid")

    def test_gate_past_its_time_gives_up(self) -> None:
        assert not self.ask(*["failed calling webhook"] * 95)
