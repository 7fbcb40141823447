"""Secrets of users beside a running operator: logins to image registries, and the index of secrets."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devservers_core.errors import ApiError
from devservers_core.types import Json
from infra.platform import rbac
from tests.support.cluster.client import Client
from tests.support.cluster.devctl import Devctl
from tests.support.cluster.harness import ApiServer
from tests.support.cluster.operator_process import (
    SYSTEM,
    FakeKubelet,
    OperatorProcess,
    World,
    flavor,
    operator_for,
    server_of,
)
from tests.support.wait import eventually

TYPE = "kubernetes.io/dockerconfigjson"
GHCR = "registry-ghcr-io-"
_names = itertools.count(1)


def _secret(name: str, auths: object = None, namespace: str = SYSTEM, **more: Any) -> Json:
    config = base64.b64encode(json.dumps({"auths": auths or {}}).encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, **more},
        "type": TYPE,
        "data": {".dockerconfigjson": config},
    }


def _auths(secret: Json | None) -> dict[str, dict[str, str]]:
    assert secret is not None
    assert secret["type"] == TYPE
    found: dict[str, dict[str, str]] = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))["auths"]
    return found


@pytest.fixture(scope="module")
def operator(controllers: ApiServer) -> Iterator[OperatorProcess]:
    secrets = ("company", "absent")
    role, secret = (
        rbac.system_role(SYSTEM, secrets),
        _secret("company", {"registry.example.org": {"auth": "cHVsbDp0b2tlbg=="}}),
    )
    with (
        FakeKubelet(controllers.admin, steps=False),
        operator_for(controllers, flavor("cpu-small"), role, secret, image_pull_secrets=",".join(secrets)) as process,
    ):
        yield process


@pytest.fixture(scope="module")
def world(operator: OperatorProcess) -> World:
    return World(operator.server.admin)


@pytest.fixture
def bob(world: World) -> str:
    """A person of this test's own."""
    name = f"reg{next(_names)}"
    world.add_user(name)
    return name


@pytest.fixture
def devctl(operator: OperatorProcess, bob: str, tmp_path: Path) -> Devctl:
    """With the rights of the person, and no others."""
    user, groups = operator.server.service_account(f"dev-{bob}", "devctl")
    return Devctl(tmp_path, operator.server.kubeconfig_for(user, groups), bob)


def _as_person(operator: OperatorProcess, bob: str) -> Client:
    user, groups = operator.server.service_account(f"dev-{bob}", "devctl")
    return operator.server.client_for(user, groups)


def _name(world: World, bob: str, prefix: str = GHCR) -> str:
    found: list[str] = [each["metadata"]["name"] for each in world.admin.list("v1", "Secret", f"dev-{bob}")]
    return next(name for name in found if name.startswith(prefix))


def test_registry_login_list_and_logout_never_print_the_password(world: World, bob: str, devctl: Devctl) -> None:
    done = devctl("registry", "login", "ghcr.io", "--username", "bob", typed="s3cret token\n")
    assert "s3cret" not in done.stdout + done.stderr
    name = _name(world, bob)
    auths = _auths(world.child("Secret", bob, name))
    assert base64.b64decode(auths["ghcr.io"]["auth"]) == b"bob:s3cret token"
    devctl("registry", "login", "https://GHCR.io/", "-u", "bob2", typed="other")
    assert base64.b64decode(_auths(world.child("Secret", bob, name))["ghcr.io"]["auth"]) == b"bob2:other"
    assert devctl("registry", "list").stdout.splitlines()[1].split()[:2] == ["ghcr.io", "bob2"]
    assert json.loads(devctl("registry", "list", "-o", "json").stdout)[0].keys() == {"registry", "username", "since"}
    devctl("registry", "logout", "ghcr.io")
    assert _auths(world.child("Secret", bob, name)) == {}
    assert devctl("registry", "list").stdout == ""
    assert "you are logged in to none" in devctl("registry", "logout", "ghcr.io", code=3).stderr


def test_registry_login_with_the_longest_password_is_stored(world: World, bob: str, devctl: Devctl) -> None:
    devctl("registry", "login", "ghcr.io", "-u", "b" * 256, typed="ä" * 4096 + "\n")
    auth = base64.b64decode(_auths(world.child("Secret", bob, _name(world, bob)))["ghcr.io"]["auth"])
    assert auth.decode() == "b" * 256 + ":" + "ä" * 4096


@pytest.mark.parametrize("typed", ["", "\n", "two\nlines\n", "a\x1b[31m\n", "x" * 9000, "ä" * 4097, "\x85"])
def test_registry_login_with_an_invalid_password_is_refused_unprinted(devctl: Devctl, typed: str) -> None:
    done = devctl("registry", "login", "ghcr.io", "-u", "bob", typed=typed, code=2)
    assert "lines" not in done.stderr
    assert "xxx" not in done.stderr


def test_registry_login_to_docker_hub_uses_the_kubelets_name(world: World, bob: str, devctl: Devctl) -> None:
    devctl("registry", "login", "docker.io", "-u", "bob", typed="token\n")
    secret = world.child("Secret", bob, _name(world, bob, "registry-docker-io-"))
    assert list(_auths(secret)) == ["https://index.docker.io/v1/"]


def test_user_cannot_read_secrets_or_write_other_ones(operator: OperatorProcess, world: World, bob: str) -> None:
    person, namespace = _as_person(operator, bob), f"dev-{bob}"
    world.admin.create(server_of(bob, "mydev", image="ghcr.io/team/tool:1"))
    world.wait_reason(bob, "mydev", "Running")
    name = _name(world, bob)
    for read in (
        lambda: person.get("v1", "Secret", name, namespace),
        lambda: person.list("v1", "Secret", namespace),
        lambda: person.patch("v1", "Secret", name, {}, namespace),
        lambda: person.delete("v1", "Secret", name, namespace),
    ):
        with pytest.raises(ApiError) as refused:
            read()
        assert refused.value.status == 403
    stored = world.child("Secret", bob, name)
    assert stored is not None
    (owned,) = stored["metadata"]["ownerReferences"]
    owner = {key: owned[key] for key in ("apiVersion", "kind", "name", "uid")}
    own: dict[str, Any] = {"namespace": namespace, "ownerReferences": [owner]}
    person.create(_secret("registry-mine", **own), dryRun="All")
    stranger, large = {**owner, "name": "somebody"}, {**owner, "uid": "x" * 65}
    more_keys = _secret("registry-large", **own)
    more_keys["data"]["more"] = "eA=="
    fields = {"fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:" + "x" * 17000: {}}}}
    managed = {"manager": "somebody", "operation": "Update", "apiVersion": "v1", **fields}
    host_key = {**_secret("mydev-host-key", **own), "type": "Opaque"}
    account = {"kubernetes.io/service-account.name": "devctl"}
    token = {**_secret("registry-token", annotations=account, **own), "type": "kubernetes.io/service-account-token"}
    refusals = [
        (host_key, "only Secrets with logins to image registries"),
        (token, "only Secrets with logins to image registries"),
        (_secret("mine", **own), "only Secrets with logins to image registries"),
        (_secret("platform-registry-company", **own), "only Secrets with logins to image registries"),
        (_secret("registry-large", {"x": "y" * 20000}, **own), "at most 16384 bytes"),
        (_secret("registry-large", managedFields=[managed], **own), "are larger than 16 KiB"),
        (more_keys, "one .dockerconfigjson of at most"),
        (_secret("registry-large", annotations={"x": "y"}, **own), "has no annotations"),
        (_secret("registry-large", labels={f"l{number}": "x" for number in range(9)}, **own), "at most 8 labels"),
        (_secret("registry-large", namespace=namespace, ownerReferences=[large]), "belongs to its DevServerUser"),
        (_secret("registry-mine", namespace=namespace), "belongs to its DevServerUser"),
        (_secret("registry-mine", namespace=namespace, ownerReferences=[stranger]), "belongs to its DevServerUser"),
        (_secret("registry-mine", finalizers=["a.example/b"], **own), "has no finalizer"),
    ]
    for secret, words in refusals:
        write = person.replace if secret["metadata"]["name"] in ("mydev-host-key", name) else person.create
        with pytest.raises(ApiError, match=words):
            write(secret, dryRun="All")
    with pytest.raises(ApiError) as elsewhere:
        person.create(_secret("registry-mine"), dryRun="All")
    assert elsewhere.value.status == 403


def test_server_image_registry_gets_a_secret_before_the_first_login(world: World, bob: str) -> None:
    world.admin.create(server_of(bob, "mydev", image="ghcr.io/team/tool:1"))
    world.wait_reason(bob, "mydev", "Running")
    name = _name(world, bob)
    assert _auths(world.child("Secret", bob, name)) == {}
    (pod,) = world.pods(bob, "mydev")
    assert [each["name"] for each in pod["spec"]["imagePullSecrets"]] == [
        "platform-registry-company",
        "platform-registry-absent",
        name,
    ]


def test_registry_login_survives_a_reconcile(world: World, bob: str, devctl: Devctl) -> None:
    devctl("registry", "login", "ghcr.io", "-u", "bob", typed="token\n")
    world.admin.create(server_of(bob, "mydev", image="ghcr.io/team/tool:1"))
    world.wait_reason(bob, "mydev", "Running")
    assert "ghcr.io" in _auths(world.child("Secret", bob, _name(world, bob)))


def test_platform_pull_secrets_are_copied_and_a_missing_one_is_reported(
    operator: OperatorProcess, world: World, bob: str
) -> None:
    copy = eventually(lambda: world.child("Secret", bob, "platform-registry-company"), "the copy")
    assert _auths(copy) == {"registry.example.org": {"auth": "cHVsbDp0b2tlbg=="}}
    assert copy["metadata"]["ownerReferences"][0]["name"] == bob
    operator.wait_for_log(f"no login to a registry in Secret {SYSTEM}/absent")


def test_registry_logins_are_deleted_with_their_user(world: World, bob: str, devctl: Devctl) -> None:
    """Also where volumes keep the namespace: the next person of that name starts with none."""
    devctl("registry", "login", "ghcr.io", "-u", "bob", typed="token\n")
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": "data", "namespace": f"dev-{bob}"}
    world.admin.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim})
    world.admin.delete("devservers.io/v1", "DevServerUser", bob)

    def logins_deleted() -> bool:
        left = [each["metadata"]["name"] for each in world.admin.list("v1", "Secret", f"dev-{bob}")]
        return not any("registry" in name for name in left)

    eventually(logins_deleted, "the logins to be deleted with the person")
    assert world.admin.find("v1", "Namespace", f"dev-{bob}") is not None


def test_registries_config_map_cannot_block_namespace_deletion(
    operator: OperatorProcess, world: World, bob: str
) -> None:
    note = ("v1", "ConfigMap", "registries")
    eventually(lambda: world.child("ConfigMap", bob, "registries"), "the note")
    for metadata in ({"finalizers": ["a.example/b"]}, {"ownerReferences": None}, {"labels": None}):
        with pytest.raises(ApiError, match="denied request"):
            _as_person(operator, bob).patch(*note, {"metadata": metadata}, f"dev-{bob}")
    world.admin.delete("devservers.io/v1", "DevServerUser", bob)
    eventually(lambda: world.child("ConfigMap", bob, "registries") is None, "the note to be deleted with its person")


def test_index_of_secrets_follows_devctl_and_kubectl_alike(
    operator: OperatorProcess, world: World, bob: str, devctl: Devctl
) -> None:
    """The operator lists them by their metadata; devctl only reads the list."""
    namespace, person = f"dev-{bob}", _as_person(operator, bob)

    def rows() -> list[list[str]]:
        return [line.split()[:2] for line in devctl("secret", "list").stdout.splitlines()[1:]]

    eventually(lambda: world.admin.find("v1", "ConfigMap", "secrets", namespace), "the index")
    assert devctl("secret", "list").stdout == ""
    devctl("secret", "set", "hf", typed="s3cret\n")
    eventually(lambda: rows() == [["hf", "value"]], "the secret in the list")
    index = person.get("v1", "ConfigMap", "secrets", namespace)
    owner = index["metadata"]["ownerReferences"]
    fields = [{key: each[key] for key in ("apiVersion", "kind", "name", "uid")} for each in owner]
    by_hand: Json = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "user-secret-by-hand", "namespace": namespace, "ownerReferences": fields},
        "type": "devservers.io/user",
        "stringData": {"key-id": "s3cret", "key": "s3cret"},
    }
    person.create(by_hand)
    eventually(lambda: rows() == [["by-hand", "key,key-id"], ["hf", "value"]], "both in the list")
    assert "s3cret" not in json.dumps(person.get("v1", "ConfigMap", "secrets", namespace))
    assert "by-hand has key-id too" in devctl("secret", "set", "by-hand", "key", typed="x\n", code=6).stderr
    devctl("secret", "delete", "by-hand", "--yes")
    eventually(lambda: rows() == [["hf", "value"]], "the deleted one gone")
    world.admin.patch("v1", "ConfigMap", "secrets", {"data": {"user-secret-forged": "{}"}}, namespace)
    devctl("secret", "delete", "hf", "--yes")
    eventually(lambda: rows() == [], "the empty list")
    assert "there is no secret hf" in devctl("secret", "delete", "hf", "--yes", code=3).stderr
