"""A user's namespace under the operator: creation, repair, suspension, deletion."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devservers_core.errors import ApiError
from tests.support.cluster.devctl import Devctl
from tests.support.cluster.harness import ApiServer
from tests.support.cluster.operator_process import (
    OPERATOR,
    SYSTEM,
    FakeKubelet,
    OperatorProcess,
    World,
    operator_for,
    ready,
    server_of,
)
from tests.support.cluster.shipped import rules_of_before
from tests.support.wait import eventually

_names = itertools.count(1)


@pytest.fixture(scope="module")
def operator(controllers: ApiServer) -> Iterator[OperatorProcess]:
    with FakeKubelet(controllers.admin, steps=False), operator_for(controllers) as process:
        yield process


@pytest.fixture(scope="module")
def world(operator: OperatorProcess) -> World:
    return World(operator.server.admin)


@pytest.fixture
def bob() -> str:
    """A name of this test's own; nobody has it yet."""
    return f"bob{next(_names)}"


def test_new_user_gets_a_closed_namespace(world: World, bob: str) -> None:
    user = world.add_user(bob, flavors=["cpu-small"])
    assert user["status"]["uid"] >= 20000
    assert user["status"]["namespace"] == f"dev-{bob}"
    namespace = world.admin.get("v1", "Namespace", f"dev-{bob}")["metadata"]
    assert namespace["labels"]["devserver.io/user"] == bob
    assert namespace["labels"]["devserver.io/created-by"] == "devservers-operator"
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert namespace["annotations"]["devservers.io/allowed-flavors"] == "cpu-small"
    assert not namespace.get("ownerReferences")
    for kind, name in _CHILDREN:
        child = world.child(kind, bob, name.format(user=bob))
        assert child is not None, kind
        assert child["metadata"]["ownerReferences"][0]["uid"] == user["metadata"]["uid"], kind


def test_uids_are_unique_and_recorded(world: World, bob: str) -> None:
    uids = {world.add_user(name)["status"]["uid"] for name in (bob, f"{bob}x", f"{bob}y")}
    assert len(uids) == 3
    data = world.admin.get("v1", "ConfigMap", "user-uids", SYSTEM)["data"]
    assert {int(data[name]) for name in (bob, f"{bob}x", f"{bob}y")} == uids


def test_user_ca_exists_and_reaches_servers(world: World, bob: str) -> None:
    world.add_user(bob)
    world.admin.create(server_of(bob, "mydev"))
    world.wait_reason(bob, "mydev", "Running")
    secret = world.admin.get("v1", "Secret", "user-ca", SYSTEM)
    assert set(secret["data"]) == {"ca", "ca.pub"}
    keys = world.child("ConfigMap", bob, "mydev-keys")
    assert keys is not None
    assert keys["data"]["user_ca.pub"].startswith("ssh-ed25519 ")


@pytest.mark.parametrize(
    ("kind", "name"),
    [("NetworkPolicy", "default-deny-ingress"), ("ResourceQuota", "dev-user"), ("RoleBinding", "dev-user")],
)
def test_namespace_object_that_was_deleted_is_restored(world: World, bob: str, kind: str, name: str) -> None:
    world.add_user(bob)
    child = world.child(kind, bob, name)
    assert child is not None
    world.admin.delete(child["apiVersion"], kind, name, f"dev-{bob}")

    def restored() -> bool:
        live = world.child(kind, bob, name)
        return live is not None and live["metadata"]["uid"] != child["metadata"]["uid"]

    eventually(restored, f"{kind} restored")


def test_network_policy_that_was_opened_is_restored(world: World, bob: str) -> None:
    world.add_user(bob)
    world.admin.patch(
        "networking.k8s.io/v1", "NetworkPolicy", "default-deny-ingress", {"spec": {"policyTypes": ["Egress"]}},
        f"dev-{bob}",
    )  # fmt: skip
    eventually(
        lambda: (world.child("NetworkPolicy", bob, "default-deny-ingress") or {})["spec"]["policyTypes"] == ["Ingress"],
        "ingress denied again",
    )


def test_changed_keys_reach_running_servers_without_a_restart(world: World, bob: str) -> None:
    world.add_user(bob)
    world.admin.create(server_of(bob, "mydev"))
    world.wait_reason(bob, "mydev", "Running")
    pod = world.pods(bob, "mydev")[0]["metadata"]["uid"]
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB new@laptop"
    world.admin.patch("devservers.io/v1", "DevServerUser", bob, {"spec": {"sshPublicKeys": [key]}})
    eventually(
        lambda: (world.child("ConfigMap", bob, "mydev-keys") or {})["data"]["authorized_keys"] == f"{key}\n",
        "keys changed",
    )
    assert [p["metadata"]["uid"] for p in world.pods(bob, "mydev")] == [pod]


def test_suspension_stops_servers_and_its_end_starts_them(world: World, bob: str) -> None:
    world.add_user(bob)
    world.admin.create(server_of(bob, "mydev"))
    world.wait_reason(bob, "mydev", "Running")
    world.admin.patch("devservers.io/v1", "DevServerUser", bob, {"spec": {"suspended": True}})
    stopped = world.wait(bob, "mydev", lambda s: s["status"].get("phase") == "Stopped", "stopped")
    assert ready(stopped)["reason"] == "OwnerSuspended"
    assert (world.child("ConfigMap", bob, "mydev-keys") or {})["data"]["authorized_keys"] == ""
    eventually(
        lambda: world.admin.get("devservers.io/v1", "DevServerUser", bob)["status"]["phase"] == "Suspended",
        "shown",
    )
    world.admin.patch("devservers.io/v1", "DevServerUser", bob, {"spec": {"suspended": False}})
    world.wait_reason(bob, "mydev", "Running")


def _taken(world: World, user: str, change: dict[str, Any]) -> bool:
    """Whether the API server takes a change of a server: rules are gone a moment after that is stored."""
    try:
        world.admin.patch("devservers.io/v1", "DevServer", "mydev", change, f"dev-{user}")
    except ApiError:
        return False
    return True


@pytest.mark.parametrize("held", [{"finalizers": ["example.com/held"]}, {}])
def test_suspension_stops_a_server_that_is_held_or_unreadable(world: World, bob: str, held: dict[str, Any]) -> None:
    """Neither a deletion held up by a finalizer, nor an object that the operator can't read."""
    world.add_user(bob)
    server = server_of(bob, "mydev")
    world.admin.create({**server, "metadata": {**server["metadata"], **held}})
    world.wait_reason(bob, "mydev", "Running")
    if held:
        world.admin.delete("devservers.io/v1", "DevServer", "mydev", f"dev-{bob}")
    else:
        broken = {"spec": {"lifecycle": {"expirationTime": "0000-01-01T00:00:00Z"}}}
        with rules_of_before(world.admin):
            eventually(lambda: _taken(world, bob, broken), "a time that can't be read to be stored")
        world.wait_reason(bob, "mydev", "InvalidSpec")
        assert world.pods(bob, "mydev"), "being unreadable alone is no reason to stop it at once"
        world.admin.patch("devservers.io/v1", "DevServerUser", bob, {"spec": {"suspended": True}})
    eventually(lambda: not world.pods(bob, "mydev"), "the server stopped", 60)
    if held:
        world.admin.patch("devservers.io/v1", "DevServer", "mydev", {"metadata": {"finalizers": None}}, f"dev-{bob}")


def test_operator_outside_of_user_namespaces_is_forbidden(operator: OperatorProcess, world: World, bob: str) -> None:
    """What RBAC can't say is said by admission: a stolen token opens no other namespace."""
    world.add_user(bob)
    client = operator.server.client_for(*operator.server.service_account(SYSTEM, OPERATOR))
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "stolen", "namespace": "kube-system"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "devservers-operator-tenant",
        },
        "subjects": [{"kind": "ServiceAccount", "name": OPERATOR, "namespace": SYSTEM}],
    }  # fmt: skip
    world.admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "stolen", "namespace": "default"}}
    foreign = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "dev-foreign"}}
    open_it = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}
    for forbidden in (
        lambda: client.create(binding),
        lambda: client.create(account),
        lambda: client.create(foreign),
        lambda: client.patch("v1", "Namespace", "kube-system", open_it),
        lambda: client.patch("v1", "Namespace", f"dev-{bob}", open_it),
        lambda: client.delete("v1", "Namespace", "team"),
    ):
        with pytest.raises(ApiError) as caught:
            forbidden()
        assert caught.value.status == 403
        assert "ValidatingAdmissionPolicy" in caught.value.message
    everybody = {"metadata": {"labels": {"example.com/x": "y"}}}
    client.patch("v1", "Namespace", f"dev-{bob}", everybody)


def test_deleted_user_without_volumes_leaves_nothing(world: World, bob: str) -> None:
    uid = world.add_user(bob)["status"]["uid"]
    world.admin.create(server_of(bob, "mydev"))
    world.wait_reason(bob, "mydev", "Running")
    world.admin.delete("devservers.io/v1", "DevServerUser", bob)
    eventually(lambda: _namespace_gone(world, bob), "namespace gone", 60)
    assert world.add_user(f"{bob}x")["status"]["uid"] > uid, "a uid is never given again"
    assert world.add_user(bob)["status"]["uid"] == uid, "but to the very same name"


def test_deleted_user_keeps_homes_and_loses_servers(world: World, bob: str) -> None:
    """The next person of that name finds the home with its host key, and no server, stopped or running."""
    world.add_user(bob)
    world.admin.create(server_of(bob, "mydev", persistentHomeSize="1Gi", env=[{"name": "TOKEN", "value": "bobs"}]))
    world.admin.create(server_of(bob, "plain"))
    host_key = world.wait_reason(bob, "mydev", "Running")["status"]["sshHostKey"]
    world.wait_reason(bob, "plain", "Running")
    world.admin.delete("devservers.io/v1", "DevServerUser", bob)

    def named() -> bool:
        events = world.admin.list("v1", "Event", "default")
        return any(e["involvedObject"]["name"] == f"dev-{bob}" and "mydev-home" in e["message"] for e in events)

    eventually(named, "leftovers named")
    eventually(lambda: _what_is_left(world, bob) == ["PersistentVolumeClaim mydev-home", "Secret mydev-host-key"],
               "nothing but the home and its host key", 60)  # fmt: skip
    assert not world.admin.get("v1", "Namespace", f"dev-{bob}")["metadata"].get("deletionTimestamp")

    world.add_user(bob)
    assert world.admin.list("devservers.io/v1", "DevServer", f"dev-{bob}") == []
    world.admin.create(server_of(bob, "mydev", persistentHomeSize="1Gi"))
    assert world.wait_reason(bob, "mydev", "Running")["status"]["sshHostKey"] == host_key
    environment = world.pods(bob, "mydev")[0]["spec"]["containers"][0]["env"]
    assert "TOKEN" not in [each["name"] for each in environment]

    world.admin.delete("devservers.io/v1", "DevServerUser", bob)
    eventually(lambda: not world.admin.list("devservers.io/v1", "DevServer", f"dev-{bob}"), "servers gone again")
    # When the last claim is deleted by hand, the namespace has no reason left to stay.
    world.admin.delete("v1", "PersistentVolumeClaim", "mydev-home", f"dev-{bob}")
    eventually(lambda: _namespace_gone(world, bob), "namespace gone", 60)


def test_devctl_user_delete_waits_for_the_namespace_and_names_a_finalizer(
    operator: OperatorProcess, world: World, bob: str, tmp_path: Path
) -> None:
    devctl = Devctl(tmp_path, operator.server.kubeconfig_for("test-admin", ("system:masters",)), bob)
    for name, holds in ((bob, True), (f"{bob}x", False)):
        world.add_user(name)
        namespace = f"dev-{name}"
        if holds:
            metadata = {"name": "held", "namespace": namespace, "finalizers": ["example.com/hold"]}
            world.admin.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
        done = devctl("user", "delete", name, "--yes")
        assert f"{name} is deleted" in done.stderr
        if holds:
            assert f"{namespace} is not gone yet" in done.stderr
            assert "example.com/hold" in done.stderr
            world.admin.patch("v1", "ConfigMap", "held", {"metadata": {"finalizers": None}}, namespace)
        else:
            assert "warning" not in done.stderr
            assert _namespace_gone(world, name)


def _what_is_left(world: World, user: str) -> list[str]:
    """What of a server's kinds is in the namespace, by kind and name."""
    kinds = {
        "devservers.io/v1": ("DevServer",),
        "apps/v1": ("Deployment",),
        "v1": ("ConfigMap", "PersistentVolumeClaim", "Pod", "Secret", "Service"),
    }
    names = [
        f"{kind} {each['metadata']['name']}"
        for version, found in kinds.items()
        for kind in found
        for each in world.admin.list(version, kind, f"dev-{user}")
    ]
    return sorted(name for name in names if name != "ConfigMap kube-root-ca.crt")


def test_suspended_user_loses_api_access(operator: OperatorProcess, world: World, bob: str) -> None:
    world.add_user(bob)

    def may(account: str) -> bool:
        client = operator.server.client_for(*operator.server.service_account(f"dev-{bob}", account))
        try:
            client.list("devservers.io/v1", "DevServer", f"dev-{bob}")
        except ApiError as error:
            assert error.status == 403
            return False
        return True

    eventually(lambda: may("devctl"), "the person's rights")
    assert not may(f"user-{bob}")
    world.admin.patch("devservers.io/v1", "DevServerUser", bob, {"spec": {"suspended": True}})
    eventually(lambda: not may("devctl"), "rights withdrawn")
    world.admin.patch("devservers.io/v1", "DevServerUser", bob, {"spec": {"suspended": False}})
    eventually(lambda: may("devctl"), "rights given back")


def test_user_whose_namespace_exists_already_fails_and_leaves_it(world: World, bob: str) -> None:
    world.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"dev-{bob}"}})
    world.admin.create(
        {
            "apiVersion": "devservers.io/v1",
            "kind": "DevServerUser",
            "metadata": {"name": bob},
            "spec": {"username": bob},
        }
    )
    user = eventually(
        lambda: u if (u := world.admin.get("devservers.io/v1", "DevServerUser", bob)).get("status") else None,
        "status",
    )
    assert user["status"]["phase"] == "Failed"
    assert world.child("RoleBinding", bob, "dev-user") is None
    world.admin.delete("devservers.io/v1", "DevServerUser", bob)
    assert world.admin.find("v1", "Namespace", f"dev-{bob}") is not None


_CHILDREN = [
    ("ServiceAccount", "user-{user}"),
    ("ServiceAccount", "devctl"),
    ("RoleBinding", "dev-user"),
    ("RoleBinding", "devservers-operator-tenant"),
    ("RoleBinding", "devservers-person-token"),
    ("ResourceQuota", "dev-user"),
    ("LimitRange", "dev-user"),
    ("NetworkPolicy", "default-deny-ingress"),
    ("NetworkPolicy", "allow-ssh-from-bastion"),
    ("NetworkPolicy", "allow-agent"),
    ("NetworkPolicy", "egress"),
]


def _namespace_gone(world: World, user: str) -> bool:
    return world.admin.find("v1", "Namespace", f"dev-{user}") is None


def test_user_role_covers_the_users_namespace_only(operator: OperatorProcess, world: World, bob: str) -> None:
    world.add_user(bob)
    world.add_user(f"{bob}x")
    account, groups = operator.server.service_account(f"dev-{bob}", "devctl")
    client = operator.server.client_for(account, groups)
    client.create(server_of(bob, "mydev"))
    assert client.list("devservers.io/v1", "DevServerFlavor")
    for forbidden in (
        lambda: client.create(server_of(f"{bob}x", "mydev")),
        lambda: client.list("v1", "Secret", f"dev-{bob}"),
        lambda: client.list("v1", "Pod"),
        lambda: client.get("v1", "Secret", "user-ca", SYSTEM),
        lambda: client.patch("apps/v1", "Deployment", "mydev", {"spec": {"replicas": 5}}, f"dev-{bob}"),
    ):
        with pytest.raises(ApiError) as caught:
            forbidden()
        assert caught.value.status == 403
