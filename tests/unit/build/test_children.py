"""Keys, host key, home and Service of a server."""

from __future__ import annotations

import base64
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devservers.build import host_key
from devservers.build.devserver import manifests
from devservers.build.keys import authorized_keys
from devservers.build.storage import storage
from tests.support.operator.build_objects import CA, KEY, UID, child, request, server, user

OWNED = [
    {
        "apiVersion": "devservers.io/v1",
        "kind": "DevServer",
        "name": "mydev",
        "uid": "u-server",
        "controller": True,
        "blockOwnerDeletion": True,
    }
]
LABELS = {
    "app.kubernetes.io/managed-by": "devservers-operator",
    "devservers.io/name": "mydev",
    "devservers.io/user": "ann",
}


def home(size: str = "10Gi", phase: str = "Bound", **spec: object) -> dict[str, Any]:
    return {
        "metadata": {"name": "mydev-home", "uid": "u-home"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec},
        "status": {"phase": phase},
    }


def test_manifests_have_order_labels_and_owners() -> None:
    children = manifests(request(server=server(persistentHomeSize="10Gi")))
    assert [found["kind"] for found in children] == ["PersistentVolumeClaim", "ConfigMap", "Service", "Deployment"]
    assert [found["metadata"]["name"] for found in children] == ["mydev-home", "mydev-keys", "mydev", "mydev"]
    for found in children:
        assert found["metadata"]["labels"] == LABELS
        assert found["metadata"]["namespace"] == "dev-ann"
        owners = found["metadata"].get("ownerReferences")
        assert owners == (None if found["kind"] == "PersistentVolumeClaim" else OWNED)


def test_manifests_without_ssh_have_no_service() -> None:
    kinds = [found["kind"] for found in manifests(request(server=server(enableSSH=False)))]
    assert kinds == ["ConfigMap", "Deployment"]


def test_service_maps_port_22_to_2222() -> None:
    assert child("Service")["spec"] == {
        "type": "ClusterIP",
        "selector": {"devservers.io/name": "mydev"},
        "ports": [{"name": "ssh", "port": 22, "targetPort": 2222, "protocol": "TCP"}],
    }


def test_keys_config_map_has_the_users_keys_the_ca_and_one_account() -> None:
    data = child("ConfigMap")["data"]
    assert data["authorized_keys"] == KEY + "\n"
    assert data["principals"] == "ann\n"
    assert data["user_ca.pub"] == CA
    assert data["passwd"].splitlines()[-1] == f"dev:x:{UID}:{UID}:ann:/home/dev:/bin/sh"
    assert data["group"].splitlines()[-1] == f"dev:x:{UID}:"


def test_manifests_of_a_suspended_user_have_no_keys_and_no_pod() -> None:
    suspended = user(suspended=True)
    data = child("ConfigMap", user=suspended)["data"]
    assert (data["authorized_keys"], data["principals"]) == ("", "")
    assert child("Deployment", user=suspended)["spec"]["replicas"] == 0


@pytest.mark.parametrize(
    ("given_keys", "lines"),
    [
        ([], []),
        (["ssh-ed25519   AAAA  ann"], ["ssh-ed25519 AAAA ann"]),
        (["ssh-ed25519 AAAA ann\nssh-rsa BBBB eve"], ["ssh-ed25519 AAAA ann ssh-rsa BBBB eve"]),
        (["ssh-ed25519 AAAA\r\n"], ["ssh-ed25519 AAAA"]),
        (['command="x" ssh-ed25519 AAAA', "ssh-dss AAAA", "# no", "", "ssh-rsa"], []),
        (["ssh-rsa B", "ssh-ed25519 A", "ssh-rsa B"], ["ssh-rsa B", "ssh-ed25519 A"]),
    ],
)
def test_authorized_keys_entry_gives_one_line_or_none(given_keys: list[str], lines: list[str]) -> None:
    assert authorized_keys(given_keys).splitlines() == lines


@given(st.lists(st.text(st.characters(codec="utf-8")).map(lambda tail: "ssh-ed25519 AAAA " + tail)))
def test_authorized_keys_entry_never_adds_a_second_line(given_keys: list[str]) -> None:
    lines = authorized_keys(given_keys).splitlines()
    assert len(lines) <= len(given_keys)
    assert all(line.startswith("ssh-ed25519 AAAA") for line in lines)


def test_authorized_keys_named_key_has_its_expiry_time() -> None:
    named = {"name": "laptop", "key": "ssh-ed25519 AAAABBBB work", "expires": "2027-01-01T01:02:03+01:00"}
    data = child("ConfigMap", user=user(sshKeys=[named]))["data"]
    assert data["authorized_keys"] == f'{KEY}\nexpiry-time="20270101000203Z" ssh-ed25519 AAAABBBB work\n'


@pytest.mark.parametrize("plain", [["ssh-ed25519 AAAABBBB"], ["ssh-ed25519 AAAABBBB other comment"], []])
def test_authorized_keys_key_listed_twice_has_the_earliest_end(plain: list[str]) -> None:
    named = [
        {"name": "a", "key": "ssh-ed25519 AAAABBBB", "expires": "2028-01-01T00:00:00Z"},
        {"name": "b", "key": "ssh-ed25519 AAAABBBB again", "expires": "2027-01-01T00:00:00Z"},
        {"name": "c", "key": "ssh-ed25519 AAAABBBB"},
    ]
    data = child("ConfigMap", user=user(sshPublicKeys=plain, sshKeys=named))["data"]
    assert data["authorized_keys"] == f'expiry-time="20270101000000Z" {[*plain, "ssh-ed25519 AAAABBBB"][0]}\n'


def test_owner_reference_of_a_host_key_is_the_home_if_there_is_one() -> None:
    assert host_key.owner_reference(server(), None) == OWNED[0]
    assert host_key.owner_reference(server(persistentHomeSize="1Gi"), home()) == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "name": "mydev-home",
        "uid": "u-home",
    }
    with pytest.raises(ValueError, match="must exist before"):
        host_key.owner_reference(server(persistentHomeSize="1Gi"), None)


def test_host_key_secret_gives_its_public_half_back() -> None:
    texts = {"ssh_host_ed25519_key": "PRIVATE\n", "ssh_host_ed25519_key.pub": "ssh-ed25519 AAAA mydev\n"}
    data = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
    secret = host_key.host_key_secret(server(), user(), data, OWNED[0])
    assert secret["metadata"]["name"] == "mydev-host-key"
    assert base64.b64decode(secret["data"]["ssh_host_ed25519_key"]) == b"PRIVATE\n"
    assert host_key.public_of(secret) == "ssh-ed25519 AAAA"


@pytest.mark.parametrize("data", [None, {}, {"ssh_host_ed25519_key.pub": "%%"}, {"ssh_host_ed25519_key.pub": ""}])
def test_public_of_a_damaged_secret_is_none(data: dict[str, str] | None) -> None:
    assert host_key.public_of({"data": data}) is None


@pytest.mark.parametrize(
    ("wanted", "live", "size"),
    [
        ("10240Mi", None, "10Gi"),
        ("20Gi", home("10Gi"), "20Gi"),
        ("20Gi", home("10Gi", phase="Pending"), "10Gi"),
        ("5Gi", home("10Gi"), "10Gi"),
        ("10240Mi", home("10Gi"), "10Gi"),
    ],
)
def test_home_claim_size_only_grows(wanted: str, live: dict[str, Any] | None, size: str) -> None:
    claim = child("PersistentVolumeClaim", server=server(persistentHomeSize=wanted), live_homes={"mydev-home": live})
    assert claim["spec"]["resources"]["requests"]["storage"] == size
    assert claim["metadata"]["annotations"] == {"devservers.io/home-of": "mydev"}


@pytest.mark.parametrize(
    ("running", "before", "expected"),
    [
        (True, None, "2026-11-30"),
        (True, "2026-11-29", "2026-11-30"),
        (False, "2026-11-29", "2026-11-29"),
        (False, None, None),
    ],
)
def test_home_claim_keeps_the_last_day_its_server_ran(running: bool, before: str | None, expected: str | None) -> None:
    """The same manifest all day, and while the server is stopped: one write a day at most."""
    live = home()
    live["metadata"]["annotations"] = {"devservers.io/last-used": before} if before else {}
    wanted = server(persistentHomeSize="10Gi")
    claim = child(
        "PersistentVolumeClaim",
        server=wanted,
        live_homes={"mydev-home": live},
        running=running,
        today=date(2026, 11, 30),
    )
    assert claim["metadata"]["annotations"].get("devservers.io/last-used") == expected


def test_home_claim_of_a_stored_home_keeps_its_class_and_modes() -> None:
    live = home(storageClassName="old", accessModes=["ReadWriteMany"], volumeName="pv-1")
    claim = child("PersistentVolumeClaim", server=server(persistentHomeSize="1Gi"), live_homes={"mydev-home": live})
    assert claim["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "old",
        "resources": {"requests": {"storage": "10Gi"}},
    }


def mounts_of(**spec: Any) -> dict[str, str]:
    found = storage(server(**spec), "20Gi")
    claims = {v["name"]: v.get("persistentVolumeClaim", {}).get("claimName", "empty") for v in found.volumes}
    return {mount["mountPath"]: claims[mount["name"]] for mount in found.mounts}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, {"/home/dev": "empty", "/tmp": "empty"}),
        ({"persistentHomeSize": "1Gi"}, {"/home/dev": "mydev-home", "/tmp": "empty"}),
        ({"volumes": [{"claimName": "mine", "mountPath": "/home/dev/"}]}, {"/home/dev": "mine", "/tmp": "empty"}),
        ({"volumes": [{"claimName": "mine", "mountPath": "/tmp/"}]}, {"/home/dev": "empty", "/tmp": "mine"}),
        (
            {"volumes": [{"claimName": "mine", "mountPath": "/tmp/mine"}]},
            {"/home/dev": "empty", "/tmp": "empty", "/tmp/mine": "mine"},
        ),
        (
            {"sharedVolumeClaimName": "all", "volumes": [{"claimName": "all", "mountPath": "/data", "readOnly": True}]},
            {"/home/dev": "empty", "/tmp": "empty", "/data": "all", "/shared": "all"},
        ),
    ],
)
def test_storage_mounts_each_claim_at_its_path(spec: dict[str, Any], expected: dict[str, str]) -> None:
    assert mounts_of(**spec) == expected


def test_manifests_without_uid_or_stored_server_are_refused() -> None:
    nobody = user().model_copy(update={"status": user().status.model_copy(update={"uid": None})})
    with pytest.raises(ValueError, match="no uid yet"):
        manifests(request(user=nobody))
    unstored = server().model_copy(update={"metadata": server().metadata.model_copy(update={"uid": ""})})
    with pytest.raises(ValueError, match="no uid"):
        manifests(request(server=unstored))
