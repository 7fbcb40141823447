"""Admission policies on servers, images, claims and tokens, without an operator."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from devservers.api.admission import policies
from devservers.build.user_setup import config_maps
from devservers_core.errors import ApiError
from devservers_core.types import Json
from tests.support.cluster.client import Client
from tests.support.cluster.crd_tables import GIT_URLS_NOT_CLONED, KEY, NO_GIT_URLS
from tests.support.cluster.devctl import Devctl
from tests.support.cluster.harness import ApiServer
from tests.support.cluster.persons import person_of
from tests.support.cluster.shipped import install, rules_of_before
from tests.support.cluster.snapshots import VERSION as SNAPSHOTS
from tests.support.cluster.snapshots import install_snapshots
from tests.support.operator.build_objects import user as a_user
from tests.support.wait import eventually

Namespaces = Callable[[str], str]


def _server(namespace: str, flavor: str = "cpu-small", **spec: object) -> Json:
    return {
        "apiVersion": "devservers.io/v1",
        "kind": "DevServer",
        "metadata": {"name": "mydev", "namespace": namespace},
        "spec": {"flavor": flavor, **spec},
    }


def _allow(admin: Client, namespace: str, flavors: str | None) -> None:
    annotation = {"metadata": {"annotations": {"devservers.io/allowed-flavors": flavors}}}
    admin.patch("v1", "Namespace", namespace, annotation)


def _refusal(attempt: Callable[..., object]) -> str:
    """What is said against it; a dry run waits for the policy to see the namespace as it is.

    The API server reads namespaces from a watch of its own: for a moment after a change it judges by what was.
    """

    def refused() -> bool:
        try:
            attempt(dryRun="All")
        except ApiError as error:
            return "is not allowed here" in error.message
        return False

    eventually(refused, "the policy to see the namespace as it is")
    with pytest.raises(ApiError) as caught:
        attempt()
    return caught.value.message


@pytest.mark.parametrize("flavors", ["*", "cpu-small", "cpu-large,cpu-small", " cpu-small , cpu-large", "gpu,*"])
def test_flavor_in_the_allowed_list_is_accepted(flavors: str, restricted_namespace: Namespaces, admin: Client) -> None:
    """It is the annotation that lets it in: the same is refused once the flavor is taken from the list."""
    namespace = restricted_namespace(flavors)
    admin.create(_server(namespace))
    admin.delete("devservers.io/v1", "DevServer", "mydev", namespace)
    _allow(admin, namespace, "cpu-large")
    said = _refusal(partial(admin.create, _server(namespace)))
    assert "flavor cpu-small is not allowed here; choose one of cpu-large" in said


@pytest.mark.parametrize(
    ("flavors", "advice"),
    [
        ("cpu-large,gpu", "choose one of cpu-large, gpu"),
        ("cpu-small-2", "choose one of cpu-small-2"),
        ("xcpu-small", "choose one of xcpu-small"),
        ("", "ask your administrator for one"),
    ],
)
def test_flavor_outside_the_allowed_list_is_refused(
    flavors: str, advice: str, restricted_namespace: Namespaces, admin: Client
) -> None:
    with pytest.raises(ApiError) as caught:
        admin.create(_server(restricted_namespace(flavors)))
    assert caught.value.status == 403
    assert caught.value.message.endswith(f"denied request: flavor cpu-small is not allowed here; {advice}")


def test_namespace_without_the_flavor_annotation_allows_no_flavor(namespace: str, admin: Client) -> None:
    _allow(admin, namespace, None)
    said = _refusal(partial(admin.create, _server(namespace)))
    assert "flavor cpu-small is not allowed here; ask your administrator for one" in said


def test_update_to_a_flavor_that_is_not_allowed_is_refused(restricted_namespace: Namespaces, admin: Client) -> None:
    namespace = restricted_namespace("cpu-small")
    admin.create(_server(namespace))
    with pytest.raises(ApiError, match="flavor gpu is not allowed here; choose one of cpu-small"):
        admin.patch("devservers.io/v1", "DevServer", "mydev", {"spec": {"flavor": "gpu"}}, namespace)


def test_server_with_a_withdrawn_flavor_can_change_and_stop_but_not_start(
    restricted_namespace: Namespaces, admin: Client
) -> None:
    namespace = restricted_namespace("cpu-small")
    admin.create(_server(namespace))
    _allow(admin, namespace, "cpu-large")

    def change(spec: Json, **query: str) -> None:
        admin.patch("devservers.io/v1", "DevServer", "mydev", {"spec": spec}, namespace, **query)

    change({"running": False})
    change({"command": ["sleep", "9"]})
    said = _refusal(partial(change, {"running": True}))
    assert "flavor cpu-small is not allowed here; choose one of cpu-large" in said
    change({"running": True, "flavor": "cpu-large"})


def test_operator_write_to_a_server_with_a_withdrawn_flavor_is_accepted(
    restricted_namespace: Namespaces, admin: Client
) -> None:
    namespace = restricted_namespace("cpu-small")
    admin.create(_server(namespace))
    _allow(admin, namespace, "")
    server = ("devservers.io/v1", "DevServer", "mydev")
    restart = {"metadata": {"annotations": {"devservers.io/restarted-at": "2026-01-01T00:00:00Z"}}}
    assert "flavor cpu-small is not allowed here" in _refusal(partial(admin.patch, *server, restart, namespace))
    admin.patch(*server, {"status": {"phase": "Running"}}, namespace, subresource="status")
    admin.patch(*server, {"metadata": {"annotations": {"devservers.io/applied": "x"}}}, namespace)


def test_deleted_server_with_a_withdrawn_flavor_can_lose_its_finalizers(
    restricted_namespace: Namespaces, admin: Client
) -> None:
    namespace = restricted_namespace("cpu-small")
    manifest = _server(namespace)
    manifest["metadata"]["finalizers"] = ["example.org/wait"]
    admin.create(manifest)
    _allow(admin, namespace, "")
    change = partial(admin.patch, "devservers.io/v1", "DevServer", "mydev")
    free = {"metadata": {"finalizers": None, "annotations": {"devservers.io/restarted-at": "2026-01-01T00:00:00Z"}}}
    assert "flavor cpu-small is not allowed here" in _refusal(partial(change, free, namespace))
    admin.delete("devservers.io/v1", "DevServer", "mydev", namespace)
    change(free, namespace)
    assert admin.find("devservers.io/v1", "DevServer", "mydev", namespace) is None


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"annotations": {"devservers.io/started-at": "2026-01-01T00:00:00Z"}}},
        {"metadata": {"annotations": {"devservers.io/restarted-at": "2026-01-01T00:00:00Z"}}},
        {"spec": {"lifecycle": {"timeToLive": "9d"}}},
        {"spec": {"env": [{"name": "A", "value": "1"}]}},
        {"spec": {"image": "debian:13"}},
        {"spec": {"command": ["sleep", "9"]}},
        {"spec": {"volumes": [{"claimName": "a", "mountPath": "/data"}]}},
        {"spec": {"enableSSH": False}},
        {"spec": {"persistentHomeSize": "1Gi"}},
    ],
)
def test_server_with_a_withdrawn_flavor_refuses_restart_and_changes(
    restricted_namespace: Namespaces, admin: Client, change: Json
) -> None:
    namespace = restricted_namespace("cpu-small")
    admin.create(_server(namespace, lifecycle={"timeToLive": "1h"}))
    taken = {"metadata": {"annotations": {"devservers.io/allowed-flavors": "gpu"}}}
    admin.patch("v1", "Namespace", namespace, taken)

    said = _refusal(partial(admin.patch, "devservers.io/v1", "DevServer", "mydev", change, namespace))
    assert "flavor cpu-small is not allowed here; choose one of gpu" in said
    admin.patch("devservers.io/v1", "DevServer", "mydev", {"spec": {"running": False}}, namespace)


def test_override_by_a_person_is_refused_and_by_an_administrator_accepted(
    namespace: str, admin: Client, cluster: ApiServer
) -> None:
    """Whoever may update flavors may lift their limits; what is there already stands in nobody's way."""
    person = person_of(cluster, namespace)
    lifted = {"override": {"reason": "a deadline"}}
    change = {"spec": {"lifecycle": lifted}}
    refused = "lifecycle.override lifts the limits of flavor and user, and only administrators"
    assert refused in _refusal_text(partial(person.create, _server(namespace, lifecycle=lifted)))
    person.create(_server(namespace))
    patch = partial(person.patch, "devservers.io/v1", "DevServer", "mydev")
    assert refused in _refusal_text(partial(patch, change, namespace))
    admin.patch("devservers.io/v1", "DevServer", "mydev", change, namespace)
    patch({"spec": {"lifecycle": {"timeToLive": "2h"}}}, namespace)
    assert refused in _refusal_text(
        partial(patch, {"spec": {"lifecycle": {"override": {"reason": "mine"}}}}, namespace)
    )
    larger: Json = {"spec": {"flavor": "gpu"}}
    assert "lifted the limits of this server for its flavor" in _refusal_text(partial(patch, larger, namespace))
    admin.patch("devservers.io/v1", "DevServer", "mydev", {"spec": {"flavor": "cpu-large"}}, namespace)
    larger["spec"]["lifecycle"] = {"override": None}
    patch(larger, namespace)


@pytest.mark.parametrize("where", ["default", "kube-system"])
def test_server_outside_a_users_namespace_is_refused(where: str, admin: Client) -> None:
    with pytest.raises(ApiError) as caught:
        admin.create(_server(where))
    assert caught.value.status == 422
    assert caught.value.message.endswith(f"namespace {where} is not a user's; create the server in dev-<user>")


@pytest.mark.parametrize("named", [True, False])
def test_owner_other_than_the_namespaces_user_is_refused(
    namespace: str, user_name: str, admin: Client, named: bool
) -> None:
    advice = f"owner bob may not have servers in {namespace}; create it in dev-bob or leave owner out"
    with pytest.raises(ApiError, match=advice):
        admin.create(_server(namespace, owner="bob"))
    admin.create(_server(namespace, **({"owner": user_name} if named else {})))
    with pytest.raises(ApiError, match=advice):
        admin.patch("devservers.io/v1", "DevServer", "mydev", {"spec": {"owner": "bob"}}, namespace)


def test_flavor_policy_applies_to_administrators(restricted_namespace: Namespaces, cluster: ApiServer) -> None:
    other = cluster.client_for("somebody", ("system:masters",))
    with pytest.raises(ApiError, match="is not allowed here"):
        other.apply(_server(restricted_namespace("gpu")))


def test_identity_without_a_role_is_forbidden(namespace: str, cluster: ApiServer) -> None:
    account = cluster.service_account(namespace, "user-nobody")
    with pytest.raises(ApiError) as caught:
        cluster.client_for(*account).create(_server(namespace))
    assert caught.value.status == 403
    assert account[0] in caught.value.message


def test_audit_log_counts_writes_by_identity(namespace: str, cluster: ApiServer) -> None:
    mark = cluster.audit_mark()
    other = cluster.client_for("counted", ("system:masters",))
    other.create(_server(namespace))
    other.get("devservers.io/v1", "DevServer", "mydev", namespace)
    other.patch(
        "devservers.io/v1", "DevServer", "mydev", {"status": {"phase": "Pending"}}, namespace, subresource="status"
    )
    written = [(each.verb, each.resource, each.subresource, each.code) for each in cluster.writes("counted", mark)]
    assert written == [("create", "devservers", "", 201), ("patch", "devservers", "status", 200)]


@pytest.mark.parametrize(
    ("registries", "image"),
    [
        (None, "debian"),
        (None, "nvcr.io/nvidia/pytorch:24.10-py3"),
        ("*", "ghcr.io/team/image:v1"),
        ("*", "registry.example.com:5000/dev"),
        ("*", "Registry.Example.com:443/team/image"),
        ("*", "local/dev"),
        ("*", "1234/x"),
        ("*", "local.example.org/x"),
        ("*", "internal.example.org:5000/x"),
        ("*,node1:5000", "node1:5000/team/image"),
        ("*,registry.corp.internal", "registry.corp.internal/image"),
        ("*", "a/" * 250 + "image:v1"),
        ("*,localhost/devservers", "localhost/devservers/musl"),
        ("*,10.0.0.5:5000", "10.0.0.5:5000/team/image"),
        ("*,registry.corp.local", "registry.corp.local/image"),
        ("ghcr.io/team, docker.io/library", "ghcr.io/team/image:v1"),
        ("ghcr.io/team, docker.io/library", "debian:13"),
        ("ghcr.io/team,docker.io/pytorch", "pytorch/pytorch"),
    ],
)
def test_image_from_an_allowed_registry_is_accepted(
    registries: str | None, image: str, namespace: str, admin: Client
) -> None:
    """It is the list that lets it in: the same is refused once the list has another registry alone."""
    _from(admin, namespace, registries)
    server = _server(namespace, image=image)
    eventually(lambda: _accepted(admin, server), "the policy to see the namespace as it is")
    admin.delete("devservers.io/v1", "DevServer", "mydev", namespace)
    _from(admin, namespace, "elsewhere.example.net")
    refused = partial(admin.create, server, dryRun="All")
    eventually(lambda: f"image {image} " in _refusal_text(refused), "the policy to see the namespace as it is")
    with pytest.raises(ApiError, match="denied request"):
        admin.create(server)


_NODES = "an address or a name of the node itself or its network"
_ADVICE = "use a registry with a public name, or ask your administrator to allow this one"


@pytest.mark.parametrize(
    ("registries", "image", "advice"),
    [
        *(
            (registries, image, f"image {image} names a registry by {_NODES}; {_ADVICE}")
            for registries in (None, "*", "*,localhost/devservers")
            for image in ("localhost:2379/x/y:1", "localhost/x", "localhost/devserversx/y", "10.213.39.57:45998/x/y:1")
        ),
        *(
            ("*", image, _ADVICE)
            for image in (
                "LOCALHOST/x",
                "LocalHost:80/x",
                "a.localhost/x",
                "nas.local/x",
                "local:5000/x",
                "127.0.0.1/x",
                "127.1:80/x",
                "2130706433:80/x",
                "0x7f000001:80/x",
                "0X7F000001/x",
                "0x7f.1/x",
                "localhost/devservers/base",
                "ip6-localhost:2379/x/y:1",
                "ip6-loopback:10250/x",
                "kubernetes:6443/x",
                "Node1/x",
                "node1:10250/x",
                "NODE1:10250/x",
                "localhost4.localdomain4:22/x",
                "localhost6.LOCALDOMAIN/x",
                "a.localhost6:80/x",
                "ip-10-0-0-5.eu-central-1.compute.internal:10250/x",
                "metadata.google.internal/x",
            )
        ),
        ("*,localhost/devservers", "localhost:5000/devservers/x", _ADVICE),
        ("ghcr.io/team", "ghcr.io/teams/x", "registry that is not allowed here; choose one of ghcr.io/team"),
        ("ghcr.io/team", "debian", "choose one of ghcr.io/team"),
        ("docker.io/library", "library2/x", "choose one of docker.io/library"),
        ("ghcr.io", "ghcr.io:5000/x", "choose one of ghcr.io"),
        ("ghcr.io", "ghcr.io.example.com/x", "choose one of ghcr.io"),
        ("10.0.0.5:5000", "10.0.0.5:2379/x", _ADVICE),
    ],
)
def test_image_from_another_registry_is_refused(
    registries: str | None, image: str, advice: str, namespace: str, admin: Client
) -> None:
    _from(admin, namespace, registries)
    eventually(
        lambda: advice in _refusal_text(partial(admin.create, _server(namespace, image=image), dryRun="All")),
        "the policy to see the namespace as it is",
    )
    with pytest.raises(ApiError, match="denied request") as caught:
        admin.create(_server(namespace, image=image))
    assert caught.value.status == 403


def test_server_with_a_refused_image_can_stop_but_not_start(namespace: str, admin: Client) -> None:
    _from(admin, namespace, "*,localhost:5000")
    server = partial(admin.patch, "devservers.io/v1", "DevServer", "mydev")
    eventually(lambda: _accepted(admin, _server(namespace, image="localhost:5000/x")), "the list to be seen")
    _from(admin, namespace, "*")
    restart = {"metadata": {"annotations": {"devservers.io/restarted-at": "2026-01-01T00:00:00Z"}}}
    eventually(
        lambda: _ADVICE in _refusal_text(partial(server, restart, namespace, dryRun="All")), "the list to be seen"
    )
    server({"spec": {"running": False}}, namespace)
    with pytest.raises(ApiError, match=_ADVICE):
        server({"spec": {"running": True}}, namespace)
    server({"spec": {"image": "debian"}}, namespace)
    with pytest.raises(ApiError, match=_ADVICE):
        server({"spec": {"image": "localhost:2379/x"}}, namespace)


def _from(admin: Client, namespace: str, registries: str | None) -> None:
    annotation = {"metadata": {"annotations": {"devservers.io/allowed-registries": registries}}}
    admin.patch("v1", "Namespace", namespace, annotation)


def _accepted(admin: Client, server: Json) -> bool:
    """Whether it is taken; a refusal by what the namespace was a moment ago is not the last word."""
    return _refusal_text(partial(admin.create, server)) == ""


def _refusal_text(attempt: Callable[..., object]) -> str:
    """What is said against it, nothing when it is accepted."""
    try:
        attempt()
    except ApiError as error:
        return error.message
    return ""


@pytest.mark.parametrize(
    ("kind", "finalizer", "refused"),
    [
        ("DevServer", "ann.example/hold", True),
        ("DevServer", "kubernetes.io/hold", True),
        ("DevServer", "foregroundDeletion", False),
        ("DevServer", "orphan", False),
        ("PersistentVolumeClaim", "ann.example/hold", True),
        ("PersistentVolumeClaim", "kubernetes.io/hold", True),
        ("PersistentVolumeClaim", "kubernetes.io/pvc-protection", False),
        ("PersistentVolumeClaim", "foregroundDeletion", False),
        ("ConfigMap", "ann.example/hold", True),
    ],
)
def test_finalizer_added_by_a_user_is_refused(
    namespace: str, cluster: ApiServer, kind: str, finalizer: str, refused: bool
) -> None:
    person = person_of(cluster, namespace)
    make = {"DevServer": _server, "PersistentVolumeClaim": _claim, "ConfigMap": _note}[kind]
    manifest = make(namespace)
    version, name = manifest["apiVersion"], manifest["metadata"]["name"]
    if kind != "ConfigMap":
        manifest["metadata"]["finalizers"] = [finalizer]
        said = _refusal_text(partial(person.create, manifest, dryRun="All"))
        assert ("only the platform sets finalizers" in said) is refused, said
    if kind != "PersistentVolumeClaim":
        cluster.admin.create(make(namespace))
        added = {"metadata": {"finalizers": [finalizer]}}
        said = _refusal_text(partial(person.patch, version, kind, name, added, namespace, dryRun="All"))
        assert ("only the platform sets finalizers" in said) is refused, said


def test_finalizer_added_by_a_controller_is_accepted_and_the_object_stays_mutable(
    namespace: str, cluster: ApiServer
) -> None:
    controller = cluster.client_for("system:serviceaccount:velero:velero", ("system:masters",))
    person = person_of(cluster, namespace)
    for manifest in (_server(namespace), _claim(namespace)):
        manifest["metadata"]["finalizers"] = ["velero.io/backup"]
        assert "only the platform sets finalizers" in _refusal_text(partial(person.create, manifest))
        controller.create(manifest)
    person.patch("devservers.io/v1", "DevServer", "mydev", {"spec": {"running": False}}, namespace)
    for manifest in (_server(namespace), _claim(namespace)):  # nothing may hold up who deletes every server later
        free = {"metadata": {"finalizers": None}}
        controller.patch(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"], free, namespace)


@pytest.mark.parametrize("storage_class", ["efs", "gp3"])
@pytest.mark.parametrize("generated", [False, True])
def test_efs_claim_with_a_name_over_the_limit_is_refused(
    namespace: str, cluster: ApiServer, storage_class: str, generated: bool
) -> None:
    """EFS takes 100 characters; a claim whose folder has more would wait for ever."""
    person, room = person_of(cluster, namespace), 59 - len(namespace)

    def said(length: int) -> str:
        claim = _claim(namespace)
        claim["spec"]["storageClassName"] = storage_class
        # The API server adds five characters.
        claim["metadata"] |= {"name": None, "generateName": "c" * (length - 5)} if generated else {"name": "c" * length}
        return _refusal_text(partial(person.create, claim, dryRun="All"))

    assert said(room) == ""
    if storage_class == "efs":
        assert f"the name is too long for it; use at most {room} characters" in said(room + 1)
    else:
        assert said(room + 1) == ""


@pytest.fixture(scope="module")
def snapshots(cluster: ApiServer) -> None:
    """The kinds of snapshots; Kubernetes itself doesn't have them."""
    install_snapshots(cluster.admin)


_OF_CLAIM = {"persistentVolumeClaimName": "data"}


@pytest.mark.parametrize(
    ("metadata", "source", "words"),
    [
        ({}, _OF_CLAIM, ""),
        ({"labels": {"a": "b"}, "annotations": {"c": "d"}}, _OF_CLAIM, ""),
        ({"finalizers": ["foregroundDeletion"]}, _OF_CLAIM, ""),
        ({"finalizers": ["ann.example/never"]}, _OF_CLAIM, "only the platform sets finalizers"),
        ({"annotations": {"a": "x" * 17000}}, _OF_CLAIM, "are larger than 16 KiB"),
        ({}, {"volumeSnapshotContentName": "of-somebody"}, "snapshots of their volume claims only"),
    ],
)
def test_snapshot_of_a_person_has_small_metadata_no_finalizer_and_a_claim(
    namespace: str, cluster: ApiServer, snapshots: None, metadata: Json, source: Json, words: str
) -> None:
    person = person_of(cluster, namespace)
    snapshot = {
        "apiVersion": SNAPSHOTS,
        "kind": "VolumeSnapshot",
        "metadata": {"name": "before", "namespace": namespace, **metadata},
        "spec": {"source": source},
    }
    said = _refusal_text(partial(person.create, snapshot, dryRun="All"))
    assert (words in said and "denied request" in said) if words else said == ""
    # Nothing is stored: a snapshot with a finalizer would keep the kind from being deleted.
    cluster.client_for("system:serviceaccount:kube-system:snapshots", ("system:masters",)).create(
        snapshot, dryRun="All"
    )


_ONLY_LARGER = "raise the storage request of a volume claim and change nothing else"


def _bound_claim(cluster: ApiServer, namespace: str) -> None:
    """A claim with a disk of a class that grows, as the controllers leave it."""
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "growing"},
        "provisioner": "example.org/disks",
        "allowVolumeExpansion": True,
    }
    cluster.admin.apply(storage_class)
    claim = _claim(namespace)
    claim["spec"] |= {"storageClassName": "growing", "volumeName": "disk", "volumeMode": "Filesystem"}
    claim["spec"]["resources"]["requests"]["storage"] = "2Gi"
    cluster.admin.create(claim)
    status = {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}}
    cluster.admin.patch("v1", "PersistentVolumeClaim", "data", status, namespace, subresource="status")


def _requests(**amounts: str) -> Json:
    return {"spec": {"resources": {"requests": amounts}}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_requests(storage="3Gi"), ""),
        (_requests(storage="2048Mi"), ""),
        (_requests(storage="4294967296"), ""),
        (_requests(storage="1536Mi"), "can't be made smaller"),
        ({"spec": {"volumeAttributesClassName": "fast"}}, _ONLY_LARGER),
        ({"metadata": {"labels": {"x": "y"}}}, _ONLY_LARGER),
        ({"metadata": {"annotations": {"devservers.io/home-of": "mydev"}}}, _ONLY_LARGER),
        (
            {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1"}]}},
            _ONLY_LARGER,
        ),
        ({"metadata": {"annotations": {"x": "y"}}, **_requests(storage="3Gi")}, _ONLY_LARGER),
    ],
)
def test_claim_growth_is_the_only_change_that_a_person_may_make(
    namespace: str, cluster: ApiServer, change: Json, words: str
) -> None:
    _bound_claim(cluster, namespace)
    person = person_of(cluster, namespace)
    said = _refusal_text(partial(person.patch, "v1", "PersistentVolumeClaim", "data", change, namespace))
    assert (words in said and "denied request" in said) if words else said == ""


def test_claim_changes_of_controllers_and_administrators_are_accepted(namespace: str, cluster: ApiServer) -> None:
    """Whoever watches the claims of the whole cluster binds, labels and resizes them."""
    _bound_claim(cluster, namespace)
    change = {"metadata": {"labels": {"x": "y"}, "annotations": {"volume.kubernetes.io/selected-node": "n"}}}
    cluster.admin.patch("v1", "PersistentVolumeClaim", "data", change, namespace)
    person = person_of(cluster, namespace)
    person.delete("v1", "PersistentVolumeClaim", "data", namespace)


_OWNER = {"apiVersion": "v1", "kind": "Namespace", "name": "default", "uid": "1"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"metadata": {"labels": None}}, "may change only the data"),
        ({"metadata": {"labels": {"x": "y"}}}, "may change only the data"),
        ({"metadata": {"annotations": {"x": "y"}}}, "may change only the data"),
        ({"metadata": {"ownerReferences": [_OWNER]}}, "may change only the data"),
        ({"immutable": True}, "may change only the data"),
        ({"binaryData": {"registry-a": "eA=="}}, "may change only the data"),
        ({"data": {"notes": "mine"}}, "is called registry-..."),
        ({"data": {"registry-a": "x" * 1025}}, "at most 1024 characters"),
        ({"data": {f"registry-{number}": "{}" for number in range(65)}}, "more than 64 registries"),
        ({"data": {f"registry-{number}": "x" * 1024 for number in range(64)}}, ""),
        ({"data": {"registry-a": "{}"}}, ""),
    ],
)
def test_registries_config_map_accepts_changes_to_its_data_only(
    namespace: str, cluster: ApiServer, change: Json, words: str
) -> None:
    cluster.admin.create(_note(namespace))
    person = person_of(cluster, namespace)
    said = _refusal_text(partial(person.patch, "v1", "ConfigMap", "registries", change, namespace))
    assert (words in said and "denied request" in said) if words else said == ""
    if not words:
        labels = {"metadata": {"labels": {"of": "the-platform"}}}
        cluster.admin.patch("v1", "ConfigMap", "registries", labels, namespace)
        person.patch("v1", "ConfigMap", "registries", {"data": {"registry-0": None}}, namespace)


def _managed(*path: str) -> Json:
    """Metadata that says that somebody manages a field, whether the object has it or not."""
    tree: Json = {}
    for each in reversed(path):
        tree = {each: tree}
    entry = {"manager": "somebody", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z"}
    return {"managedFields": [{**entry, "fieldsType": "FieldsV1", "fieldsV1": tree}]}


@pytest.mark.parametrize(
    ("metadata", "kinds", "refused"),
    [
        ({"annotations": {"a": "x" * 17000}}, ("PersistentVolumeClaim",), True),
        ({"labels": {f"l{number}": "x" * 60 for number in range(300)}}, ("PersistentVolumeClaim",), True),
        (_managed("f:metadata", "f:labels", "f:" + "x" * 17000), ("PersistentVolumeClaim", "ConfigMap"), True),
        (_managed("f:data", "f:" + "x" * 17000), ("ConfigMap",), True),
        (_managed("f:metadata", "f:labels", *(f"f:{n}" for n in range(9))), ("PersistentVolumeClaim",), True),
        (_managed("f:metadata", "f:annotations", "f:x"), ("PersistentVolumeClaim", "ConfigMap"), False),
        ({"annotations": {"a": "x" * 1000}, "labels": {"l": "x"}}, ("PersistentVolumeClaim",), False),
    ],
)
def test_metadata_over_16_kib_is_refused(
    namespace: str, cluster: ApiServer, metadata: Json, kinds: tuple[str, ...], refused: bool
) -> None:
    person = person_of(cluster, namespace)
    claim = _claim(namespace)
    claim["metadata"] |= metadata
    cluster.admin.create(_note(namespace))
    change = {"metadata": metadata}
    attempts = {
        "PersistentVolumeClaim": partial(person.create, claim),
        "ConfigMap": partial(person.patch, "v1", "ConfigMap", "registries", change, namespace),
    }
    for kind in kinds:
        said = _refusal_text(attempts[kind])
        assert ("are larger than 16 KiB" in said) is refused, said
        assert refused or said == ""


def test_metadata_over_16_kib_is_refused_also_where_a_claim_exists(namespace: str, cluster: ApiServer) -> None:
    """Who may patch a claim may say who manages which of its fields, which no other rule compares."""
    _bound_claim(cluster, namespace)
    person = person_of(cluster, namespace)
    change = partial(person.patch, "v1", "PersistentVolumeClaim", "data")
    large = {"metadata": _managed("f:metadata", "f:labels", "f:" + "x" * 17000)}
    assert "are larger than 16 KiB" in _refusal_text(partial(change, large, namespace))
    small = {"metadata": _managed("f:metadata", "f:labels", "f:x")}
    assert _refusal_text(partial(change, {**small, **_requests(storage="3Gi")}, namespace)) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": {"dotfiles": "https://example.org/ann/dotfiles", "dotfiles-branch": "main", "script": "ls"}}, ""),
        ({"data": {"dotfiles": "git@github.com:ann/dotfiles"}}, ""),
        ({"data": {"dotfiles": ""}}, ""),
        ({"data": {"script": "x" * 32768}}, ""),
        ({"data": {"script": "ä" * 16385}}, "at most 32 KiB"),
        ({"data": {"script": "x" * 32769}}, "at most 32 KiB"),
        ({"data": {"script": "x" * 900000}}, "at most 32 KiB"),
        ({"data": {"install.sh": "ls"}}, "has the entries dotfiles, dotfiles-branch, script and secrets only"),
        *(
            ({"data": {"dotfiles": url}}, "dotfiles is not a git URL")
            for url in (*filter(None, NO_GIT_URLS), *GIT_URLS_NOT_CLONED, "https://a/" + "x" * 512)
        ),
        ({"data": {"dotfiles": "https://a/b", "dotfiles-branch": "--upload-pack=x"}}, "is not a branch"),
        ({"data": {"dotfiles": "https://a/b", "dotfiles-branch": "x" * 201}}, "is not a branch"),
        ({"data": {"dotfiles-branch": "main"}}, "is of a repository of yours"),
        ({"data": {"secrets": "env HF_TOKEN hf value\nfile id deploy id"}}, ""),
        ({"data": {"secrets": "env A a value\nfile A a value"}}, ""),
        ({"data": {"secrets": "\n".join(f"env A{number} a value" for number in range(16))}}, ""),
        ({"data": {"secrets": "\n".join(f"env A{number} a value" for number in range(17))}}, "at most 16 secrets"),
        ({"data": {"secrets": "x" * 900000}}, "at most 16 secrets"),
        *(
            ({"data": {"secrets": f"env B b value\n{line}"}}, "a line of secrets is `env VARIABLE NAME KEY`")
            for line in ("", "env A a", "env 1A a value", "file ../x a value", "env A A value", "env A a value x")
        ),
        ({"data": {"secrets": "env HOME a value"}}, "can't be set; use another name"),
        ({"data": {"secrets": "env DEVSERVERS_NAME a value"}}, "can't be set; use another name"),
        ({"data": {"secrets": "env A a value\nenv A b value"}}, "have the same variable or file"),
        ({"data": {"secrets": "file A a value\nfile A a value"}}, "have the same variable or file"),
        ({"binaryData": {"script": "eA=="}}, "may change only the data"),
        ({"metadata": {"labels": {"x": "y"}}}, "may change only the data"),
    ],
)
def test_setup_config_map_accepts_a_set_up_only(namespace: str, cluster: ApiServer, change: Json, words: str) -> None:
    cluster.admin.create(_note(namespace, "setup"))
    person = person_of(cluster, namespace)
    said = _refusal_text(partial(person.patch, "v1", "ConfigMap", "setup", change, namespace))
    assert (words in said and "denied request" in said) if words else said == ""


def test_setup_default_is_the_operators_alone(namespace: str, cluster: ApiServer) -> None:
    cluster.admin.create(_note(namespace, "setup-default"))
    person = person_of(cluster, namespace)
    change = {"data": {"dotfiles": "https://example.org/ann/dotfiles"}}
    for name in ("setup-default", "mydev-keys"):
        said = _refusal_text(partial(person.patch, "v1", "ConfigMap", name, change, namespace))
        assert "cannot patch resource" in said
    made = _note(namespace, "setup")
    assert "cannot create resource" in _refusal_text(partial(person.create, made))
    cluster.admin.create(made)
    assert "cannot delete resource" in _refusal_text(partial(person.delete, "v1", "ConfigMap", "setup", namespace))


def test_devctl_setup_set_show_and_clear_with_the_persons_rights(
    namespace: str, cluster: ApiServer, tmp_path: Path
) -> None:
    """The operator goes on applying what it made, and takes nothing of the person's away."""
    owner = a_user(dotfiles="https://example.org/team/dotfiles")
    made = [each | {"metadata": {"name": each["metadata"]["name"], "namespace": namespace}}
            for each in config_maps(owner)]  # fmt: skip
    for config_map in made:
        cluster.admin.apply(config_map)
    person_of(cluster, namespace)
    kubeconfig = cluster.kubeconfig_for(*cluster.service_account(namespace, "devctl"))
    devctl = Devctl(tmp_path, kubeconfig, namespace.removeprefix("dev-"))
    assert "https://example.org/team/dotfiles (from your administrator" in devctl("setup", "show").stdout
    devctl("setup", "set", "--dotfiles", "https://example.org/ann/dotfiles", "--branch", "main")
    devctl("setup", "set", "--script", "-", typed="#!/bin/sh\necho hello\n")
    for config_map in made:
        cluster.admin.apply(config_map)
    assert devctl("setup", "show").stdout.splitlines() == [
        "Dotfiles: https://example.org/ann/dotfiles, branch main", "Script:   21 bytes", "  #!/bin/sh", "  echo hello",
    ]  # fmt: skip
    devctl("setup", "clear", "--yes")
    assert "https://example.org/team/dotfiles (from your administrator" in devctl("setup", "show").stdout
    (bare,) = (each for each in config_maps(a_user()) if each["metadata"]["name"] == "setup-default")
    cluster.admin.apply(bare | {"metadata": {"name": "setup-default", "namespace": namespace}})
    assert "you have no set-up" in devctl("setup", "show").stderr


def _note(namespace: str, name: str = "registries") -> Json:
    """A ConfigMap that a person writes, as the operator makes it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": "devservers-operator"},
        },
    }


def _claim(namespace: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }


@pytest.mark.parametrize("who", [("devservers-bastion", "bastion"), ("devservers-system", "devservers-operator")])
def test_token_request_over_600_seconds_is_refused(namespace: str, cluster: ApiServer, who: tuple[str, str]) -> None:
    admin = cluster.admin
    admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": who[0]}})
    for name in ("devctl", "user-x"):
        admin.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}})
    name, groups = cluster.service_account(*who)
    program = cluster.client_for(name, (*groups, "system:masters"))

    def ask(client: Client, account: str, seconds: int) -> str:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return _refusal_text(partial(client.request, "POST", path, body))

    assert ask(program, "devctl", 600) == ""
    assert "a person's token lives 600 seconds at most" in ask(program, "devctl", 601)
    assert ("600 seconds" in ask(program, "user-x", 3600)) is (who[1] == "bastion")
    assert ask(admin, "devctl", 86400) == ""


def test_server_from_before_the_size_limit_can_stop_but_not_grow(namespace: str, admin: Client) -> None:
    """An upgrade takes the means to stop from nobody: neither a large spec nor a field that the API refuses now."""
    large = [{"name": f"V{number}", "value": "a" * 32000} for number in range(3)]
    with rules_of_before(admin):
        admin.create(_server(namespace, env=large))
        spec = {"username": "before", "budget": 10, "sshPublicKeys": [f"{KEY}\x1b[31m"]}
        admin.create(
            {"apiVersion": "devservers.io/v1", "kind": "DevServerUser", "metadata": {"name": "before"}, "spec": spec}
        )
    change = partial(admin.patch, "devservers.io/v1", "DevServer", "mydev")
    change({"spec": {"running": False}}, namespace)
    with pytest.raises(ApiError, match="env, command and args together are more than 64 KiB"):
        change({"spec": {"env": [*large, {"name": "ONE", "value": "more"}]}}, namespace)
    change({"spec": {"env": large[:1]}}, namespace)
    user = partial(admin.patch, "devservers.io/v1", "DevServerUser", "before")
    user({"spec": {"suspended": True}})
    with pytest.raises(ApiError, match="budget is not available yet; leave it out"):
        user({"spec": {"budget": 11}})
    user({"spec": {"budget": None}})


@pytest.mark.parametrize(
    "name",
    [each["metadata"]["name"] for each in policies.manifests() if each["kind"] == "ValidatingAdmissionPolicy"],
)
def test_admission_policy_has_no_type_warnings(controllers: ApiServer, name: str) -> None:
    """Kubernetes checks the expressions against the real schema and writes what it finds into the policy's status."""
    policy = ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", name)
    status = eventually(lambda: controllers.admin.get(*policy).get("status"), "the policy is checked")
    assert status["observedGeneration"] >= 1
    assert status.get("typeChecking", {}).get("expressionWarnings", []) == []


def test_install_twice_changes_nothing(cluster: ApiServer) -> None:
    def generations() -> list[int]:
        crds = cluster.admin.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        installed = cluster.admin.list("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy")
        # Not resourceVersion: Kubernetes' own controllers write the status whenever they like.
        return [each["metadata"]["generation"] for each in [*crds, *installed]]

    before = generations()
    install(cluster.admin)
    assert generations() == before


def test_operator_patch_of_a_server_is_held_to_wishes(namespace: str, cluster: ApiServer) -> None:
    """With all rights it still changes nothing but what a wish may change."""
    admin = cluster.admin
    admin.create(_server(namespace, lifecycle={"timeToLive": "1h"}))
    name, groups = cluster.service_account("devservers-system", "devservers-operator")
    operator = cluster.client_for(name, (*groups, "system:masters"))
    patch = partial(operator.patch, "devservers.io/v1", "DevServer", "mydev")
    held = {"until": "2027-01-01T00:00:00Z", "reason": "a long run"}
    for granted in ({"extendUntil": "2027-01-01T00:00:00Z", "wish": "w1"}, {"hold": held}, {"hold": None}):
        patch({"spec": {"lifecycle": granted}}, namespace)
    for change in (
        {"spec": {"image": "debian:13"}},
        {"spec": {"running": False}},
        {"spec": {"lifecycle": {"timeToLive": "9d"}}},
        {"spec": {"lifecycle": {"override": {"reason": "mine"}}}},
        {"metadata": {"annotations": {"devservers.io/started-at": "2026-01-01T00:00:00Z"}}},
        {"metadata": {"finalizers": ["example.org/wait"]}},
    ):
        assert "the operator may change only lifecycle.extendUntil, hold and wish" in _refusal_text(
            partial(patch, change, namespace)
        ), change
