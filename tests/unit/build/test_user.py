"""A user's namespace is closed from the start, and only its contents are the user's to take away."""

from __future__ import annotations

from typing import Any

import pytest

from devservers.build.user import Limits, manifests
from tests.support.operator.build_objects import UID, user


def children(**spec: object) -> dict[tuple[str, str], dict[str, Any]]:
    return {(found["kind"], found["metadata"]["name"]): found for found in manifests(user(**spec), UID)}


def test_manifests_have_every_kind_in_order() -> None:
    assert list(children()) == [
        ("Namespace", "dev-ann"),
        ("ServiceAccount", "user-ann"),
        ("ServiceAccount", "devctl"),
        ("RoleBinding", "devservers-operator-tenant"),
        ("RoleBinding", "dev-user"),
        ("RoleBinding", "devservers-person-token"),
        ("ResourceQuota", "dev-user"),
        ("LimitRange", "dev-user"),
        ("NetworkPolicy", "default-deny-ingress"),
        ("NetworkPolicy", "allow-ssh-from-bastion"),
        ("NetworkPolicy", "allow-agent"),
        ("NetworkPolicy", "egress"),
        ("ConfigMap", "registries"),
        ("ConfigMap", "setup"),
        ("ConfigMap", "setup-default"),
    ]


def test_manifests_but_the_namespace_are_owned_by_the_user() -> None:
    for (kind, _), found in children().items():
        owners = found["metadata"].get("ownerReferences", [])
        assert [owner["uid"] for owner in owners] == ([] if kind == "Namespace" else ["u-ann"])


def test_namespace_is_restricted_and_has_the_allowed_flavors() -> None:
    metadata = children(flavors=["gpu", "cpu-small"])["Namespace", "dev-ann"]["metadata"]
    assert metadata["annotations"]["devservers.io/allowed-flavors"] == "cpu-small,gpu"
    for mode in ("enforce", "warn", "audit"):
        assert metadata["labels"][f"pod-security.kubernetes.io/{mode}"] == "restricted"
        assert metadata["labels"][f"pod-security.kubernetes.io/{mode}-version"] == "latest"
    assert metadata["labels"]["devserver.io/user"] == "ann"
    assert metadata["labels"]["devserver.io/created-by"] == "devservers-operator"


def test_bindings_give_each_role_to_its_account() -> None:
    found = children()
    user_binding, tenant = found["RoleBinding", "dev-user"], found["RoleBinding", "devservers-operator-tenant"]
    # Not the pods' own account, user-ann.
    assert user_binding["subjects"] == [{"kind": "ServiceAccount", "name": "devctl", "namespace": "dev-ann"}]
    assert user_binding["roleRef"]["name"] == "dev-user"
    assert tenant["subjects"][0]["name"] == "devservers-operator"
    assert tenant["subjects"][0]["namespace"] == "devservers-system"
    assert tenant["roleRef"]["name"] == "devservers-operator-tenant"


def test_bindings_of_a_suspended_user_have_no_account() -> None:
    assert children(suspended=True)["RoleBinding", "dev-user"]["subjects"] == []


def test_network_policies_let_only_the_bastion_in_and_only_to_ssh() -> None:
    assert children()["NetworkPolicy", "allow-ssh-from-bastion"]["spec"]["ingress"] == [
        {
            "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "devservers-bastion"}}}],
            "ports": [{"port": 2222, "protocol": "TCP"}],
        }
    ]


def test_network_policies_let_the_operator_and_monitoring_reach_agents_only() -> None:
    """A person's namespace stays closed even with the label of monitoring."""
    assert children()["NetworkPolicy", "allow-agent"]["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [
                    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "devservers-system"}}},
                    {
                        "namespaceSelector": {
                            "matchLabels": {"devservers.io/scrape": "true"},
                            "matchExpressions": [{"key": "devserver.io/user", "operator": "DoesNotExist"}],
                        }
                    },
                ],
                "ports": [{"port": 2224, "protocol": "TCP"}],
            }
        ],
    }


@pytest.mark.parametrize(
    ("quota", "hard"),
    [
        ({}, {}),
        (
            {"gpu": 2, "cpu": "16000m", "memory": "65536Mi", "servers": 0},
            {
                "requests.nvidia.com/gpu": "2",
                "requests.cpu": "16",
                "requests.memory": "64Gi",
                "count/devservers.devservers.io": "0",
            },
        ),
    ],
)
def test_resource_quota_has_what_the_user_sets(quota: dict[str, Any], hard: dict[str, str]) -> None:
    closed = {"services.loadbalancers": "0", "services.nodeports": "0"}
    # A host key for each server and each kept home, 64 logins to registries, 64 secrets of the user, 16 copies of
    # the platform's.
    closed |= {
        "count/volumesnapshots.snapshot.storage.k8s.io": "50",
        "persistentvolumeclaims": "100",
        "secrets": "244" if "servers" in quota else "444",
    }
    assert children(quota=quota)["ResourceQuota", "dev-user"]["spec"]["hard"] == closed | hard


@pytest.mark.parametrize(
    ("of_user", "of_stack", "most"), [(None, None, "50"), (None, 5, "5"), (0, 5, "0"), (7, None, "7"), (None, 0, "0")]
)
def test_snapshots_are_limited_by_user_else_by_stack(of_user: int | None, of_stack: int | None, most: str) -> None:
    quota = {} if of_user is None else {"snapshots": of_user}
    found = {each["kind"]: each for each in manifests(user(quota=quota), UID, limits=Limits(snapshots=of_stack))}
    assert found["ResourceQuota"]["spec"]["hard"]["count/volumesnapshots.snapshot.storage.k8s.io"] == most


def test_limit_range_gives_a_pod_without_disk_a_limit() -> None:
    (limits,) = children()["LimitRange", "dev-user"]["spec"]["limits"]
    assert limits["default"]["ephemeral-storage"] == "20Gi"
    assert limits["defaultRequest"]["ephemeral-storage"] == "1Gi"


def limited(limits: Limits, **spec: object) -> tuple[dict[str, str], dict[str, str], list[dict[str, Any]]]:
    """The quota's hard limits and annotations, and the limit range."""
    found = {each["kind"]: each for each in manifests(user(**spec), UID, limits=limits)}
    quota = found["ResourceQuota"]
    return quota["spec"]["hard"], quota["metadata"].get("annotations", {}), found["LimitRange"]["spec"]["limits"]


def test_resource_quota_without_a_users_has_the_stacks_limits() -> None:
    limits = Limits(storage="500Gi", claim="1024Gi", servers=20)
    hard, notes, ranges = limited(limits)
    assert (hard["requests.storage"], hard["count/devservers.devservers.io"]) == ("500Gi", "20")
    assert hard["secrets"] == "284"
    assert notes == {"devservers.io/home-quota": "requests.storage"}
    assert ranges[1] == {"type": "PersistentVolumeClaim", "max": {"storage": "1Ti"}}
    own, _, _ = limited(limits, quota={"storage": "2Ti", "servers": 0})
    assert (own["requests.storage"], own["count/devservers.devservers.io"]) == ("2Ti", "0")


def test_resource_quota_counts_shared_claims_by_their_own_class() -> None:
    limits = Limits(storage="500Gi", home_class="gp3", shared_class="efs", shared="1Ti")
    hard, notes, _ = limited(limits)
    key = "storageclass.storage.k8s.io/requests.storage"
    assert (hard[f"gp3.{key}"], hard[f"efs.{key}"], hard["requests.storage"]) == ("500Gi", "1Ti", "1524Gi")
    assert notes == {"devservers.io/home-quota": f"gp3.{key}"}


def test_namespace_has_the_allowed_registries() -> None:
    found = manifests(user(), UID, limits=Limits(registries="*,localhost/devservers"))[0]
    assert found["metadata"]["annotations"]["devservers.io/allowed-registries"] == "*,localhost/devservers"


def test_local_queues_exist_only_with_queueing() -> None:
    assert not [each for each in manifests(user(), UID) if each["kind"] == "LocalQueue"]
    queues = [each for each in manifests(user(), UID, queueing=True) if each["kind"] == "LocalQueue"]
    assert [(each["metadata"]["name"], each["spec"]) for each in queues] == [
        ("interactive", {"clusterQueue": "interactive"}),
        ("training", {"clusterQueue": "training"}),
    ]
    assert {each["metadata"]["namespace"] for each in queues} == {"dev-ann"}
    assert {each["metadata"]["ownerReferences"][0]["kind"] for each in queues} == {"DevServerUser"}


@pytest.mark.parametrize("shared_class", [None, "efs"])
def test_namespace_names_the_shared_class_where_there_is_one(shared_class: str | None) -> None:
    """It is how devctl knows which class `--shared` means."""
    found = manifests(user(), UID, limits=Limits(shared_class=shared_class))[0]
    assert found["metadata"]["annotations"].get("devservers.io/shared-class") == shared_class


def test_namespace_has_the_users_time_zone_for_them_to_read() -> None:
    """They read their namespace and not their DevServerUser."""
    (namespace, *_) = manifests(user(timeZone="Asia/Kolkata"), UID)
    assert namespace["metadata"]["annotations"]["devservers.io/time-zone"] == "Asia/Kolkata"
    (namespace, *_) = manifests(user(), UID)
    assert "devservers.io/time-zone" not in namespace["metadata"]["annotations"]


def test_namespace_has_the_users_limits_for_them_to_read() -> None:
    (namespace, *_) = manifests(user(lifecycle={"maxHold": "2h", "maxExtension": "1h"}), UID)
    text = namespace["metadata"]["annotations"]["devservers.io/lifecycle-limits"]
    assert text == '{"maxExtension": "1h", "maxHold": "2h"}'
    (namespace, *_) = manifests(user(), UID)
    assert "devservers.io/lifecycle-limits" not in namespace["metadata"]["annotations"]


def test_namespace_of_a_user_without_time_zone_has_the_stacks() -> None:
    limits = Limits(time_zone="Europe/Berlin")
    found = manifests(user(), UID, limits=limits)[0]["metadata"]["annotations"]
    assert found["devservers.io/time-zone"] == "Europe/Berlin"
    own = manifests(user(timeZone="Asia/Kolkata"), UID, limits=limits)[0]["metadata"]["annotations"]
    assert own["devservers.io/time-zone"] == "Asia/Kolkata"
