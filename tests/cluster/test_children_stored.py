"""Objects the operator builds, as a real API server stores and admits them.

A difference here would be a write at every look at every server, for ever.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.user import DevServerUser
from devservers.build import host_key, user
from devservers.build.devserver import BuildSettings, ServerRequest, input_hash, kept_record, manifests
from devservers.build.distributed.replica_key import replica_key_secret
from devservers.build.secret_index import config_map
from devservers_core.errors import ApiError
from devservers_core.names import API_VERSION
from devservers_core.types import Json
from tests.support.cluster.client import Client

UID = 20011
SETTINGS = BuildSettings("registry.example/base:1", "registry.example/agent:1", "standard")

PLAIN: Json = {"flavor": "stored"}
FULL: Json = {
    "flavor": "stored",
    "image": "ghcr.io/ann/tools:1",
    "command": ["python", "-c", ""],
    "args": ["$(HOME)", "é"],
    "env": [{"name": "EMPTY", "value": ""}, {"name": "Z", "value": "1"}, {"name": "A", "value": "2"}],
    "persistentHomeSize": "1024Mi",
    "sharedVolumeClaimName": "all",
    "volumes": [
        {"claimName": "all", "mountPath": "/all/", "readOnly": True},
        {"claimName": "data", "mountPath": "/data"},
    ],
}
SMALL: Json = {"resources": {"requests": {"cpu": "0.5", "memory": "0.5Gi"}}}
GPU: Json = {
    "resources": {
        "requests": {"cpu": "1500m", "memory": "4096Mi", "nvidia.com/gpu": "1"},
        "limits": {"cpu": "2000m", "memory": "8e9", "nvidia.com/gpu": "1"},
    },
    "nodeSelector": {"b": "2", "a": "1"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "shmSize": "2048Mi",
}


def assert_stored(desired: object, stored: object, path: str = "") -> None:
    """Every field of `desired` is in `stored` with the same value, lists item by item."""
    if isinstance(desired, dict):
        for key, value in desired.items():
            assert isinstance(stored, dict), f"{path}.{key} was dropped"
            assert key in stored, f"{path}.{key} was dropped"
            assert_stored(value, stored[key], f"{path}.{key}")
    elif isinstance(desired, list):
        assert isinstance(stored, list), path
        assert len(desired) == len(stored), path
        for index, value in enumerate(desired):
            assert_stored(value, stored[index], f"{path}[{index}]")
    else:
        assert desired == stored, path


def make_user(admin: Client, name: str) -> DevServerUser:
    """A stored user with everything they get, checked on the way."""
    quota = {"cpu": "64000m", "memory": "262144Mi", "gpu": 4, "servers": 5}
    made = admin.create(
        {
            "apiVersion": API_VERSION,
            "kind": "DevServerUser",
            "metadata": {"name": name},
            "spec": {"username": name, "flavors": ["stored", "other"], "quota": quota},
        }
    )
    owner = DevServerUser.parse({**made, "status": {"uid": UID}})
    index = config_map(owner, {"user-secret-a": "{}"})
    for manifest in [*user.manifests(owner, UID), index]:
        assert_stored(manifest, admin.apply(manifest), manifest["kind"])
    return owner


@pytest.mark.parametrize("spec", [PLAIN, FULL, {**PLAIN, "enableSSH": False}], ids=["plain", "full", "no-ssh"])
@pytest.mark.parametrize("shape", [SMALL, GPU], ids=["small", "gpu"])
def test_children_applied_are_stored_as_built(admin: Client, user_name: str, spec: Json, shape: Json) -> None:
    owner = make_user(admin, user_name)
    made = admin.create(
        {
            "apiVersion": API_VERSION,
            "kind": "DevServer",
            "metadata": {"name": "mydev", "namespace": owner.namespace},
            "spec": {**spec, "owner": user_name},
        }
    )
    server = DevServer.parse(made)
    flavor = DevServerFlavor.parse({"metadata": {"name": "stored"}, "spec": shape})
    children = manifests(ServerRequest(server, flavor, owner, SETTINGS, "ssh-ed25519 AAAA ca"))
    home = None
    for manifest in children:
        stored = admin.apply(manifest)
        assert_stored(manifest, stored, manifest["kind"])
        home = stored if manifest["kind"] == "PersistentVolumeClaim" else home
    reference = host_key.owner_reference(server, home)
    secret = host_key.host_key_secret(server, owner, {"ssh_host_ed25519_key": "UFJJVkFURQ=="}, reference)
    assert_stored(secret, admin.create(secret), "Secret")

    template = children[-1]["spec"]["template"]
    metadata = {**template["metadata"], "name": "mydev-pod", "namespace": owner.namespace}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    admitted = admin.create(pod, dryRun="All")["spec"]
    for containers in ("initContainers", "containers"):
        assert_stored(template["spec"][containers], admitted[containers], f"Pod.{containers}")

    live = admin.get("apps/v1", "Deployment", "mydev", owner.namespace)
    kept = kept_record(live, input_hash(server, owner.status.uid or 0), running=True)
    assert kept is not None
    homes = {"mydev-home": home} if home is not None else {}
    again = manifests(
        ServerRequest(server, flavor, owner, SETTINGS, "ssh-ed25519 AAAA ca", kept=kept, live_homes=homes)
    )
    assert_stored(again[-1], live)
    if home is not None:
        assert_stored(again[0], home)


def test_children_of_a_distributed_server_are_stored_as_built(admin: Client, user_name: str) -> None:
    owner = make_user(admin, user_name)
    spec = {**FULL, "owner": user_name, "mode": "distributed", "distributed": {"replicas": 2, "backend": "nccl"}}
    server = DevServer.parse(
        admin.create(
            {
                "apiVersion": API_VERSION,
                "kind": "DevServer",
                "metadata": {"name": "train", "namespace": owner.namespace},
                "spec": spec,
            }
        )
    )
    flavor = DevServerFlavor.parse({"metadata": {"name": "stored"}, "spec": GPU})
    settings = replace(SETTINGS, queueing=True)
    request = ServerRequest(server, flavor, owner, settings, "ssh-ed25519 AAAA ca", host_ca_public="ssh-ed25519 AAAA h")
    children = manifests(request)
    stored = [admin.apply(manifest) for manifest in children]
    for manifest, live in zip(children, stored, strict=True):
        assert_stored(manifest, live, manifest["kind"])
    homes = {live["metadata"]["name"]: live for live in stored if live["kind"] == "PersistentVolumeClaim"}
    assert sorted(homes) == ["home-train-0", "home-train-1"]
    reference = host_key.owner_reference(server, homes["home-train-0"])
    admin.create(host_key.host_key_secret(server, owner, {"ssh_host_ed25519_key": "UFJJVkFURQ=="}, reference))
    secret = replica_key_secret(server, owner, {"key": "UFJJVkFURQ=="})
    assert_stored(secret, admin.create(secret), "Secret")

    larger = DevServer.parse({**server.manifest(), "spec": {**server.manifest()["spec"], "persistentHomeSize": "2Gi"}})
    kept = kept_record(stored[-1], input_hash(server, UID), running=True)
    assert kept is not None
    request = replace(request, kept=kept, live_workload=stored[-1], live_homes=homes)
    for wanted in (server, larger):
        assert_stored(manifests(replace(request, server=wanted))[-1], stored[-1])
    stopped = manifests(replace(request, running=False))[-1]
    assert admin.apply(stopped)["spec"]["replicas"] == 0


def test_namespace_with_a_privileged_pod_refuses_it(admin: Client, user_name: str) -> None:
    owner = make_user(admin, user_name)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "root", "namespace": owner.namespace},
        "spec": {"serviceAccountName": f"user-{user_name}", "containers": [{"name": "root", "image": "alpine"}]},
    }
    with pytest.raises(ApiError, match="violates PodSecurity"):
        admin.create(pod, dryRun="All")
