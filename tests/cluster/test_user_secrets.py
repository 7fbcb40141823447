"""Secrets of users: what a person may write, that nobody reads them back, and how a server gets them."""

from __future__ import annotations

import base64
from functools import partial
from pathlib import Path

import pytest

from devservers.build.secret_index import config_map
from devservers_core.errors import ApiError
from devservers_core.types import Json
from tests.support.cluster.client import Client, path_of
from tests.support.cluster.devctl import API, Devctl
from tests.support.cluster.harness import ApiServer
from tests.support.cluster.operator_process import person as a_person
from tests.support.cluster.persons import person_of
from tests.support.operator.build_objects import user as a_user

NAME = "user-secret-hf"


@pytest.fixture
def person(cluster: ApiServer, namespace: str) -> Client:
    """A person in their namespace with the platform's role, and the index that the operator makes."""
    user = cluster.admin.create(a_person(namespace.removeprefix("dev-")))
    _uids[namespace] = user["metadata"]["uid"]
    index = config_map(a_user(), {})
    index["metadata"] |= {"namespace": namespace, "ownerReferences": [_owner(namespace)]}
    cluster.admin.apply(index)
    return person_of(cluster, namespace)


_uids: dict[str, str] = {}
"""Of each namespace's user: what belongs to a user who doesn't exist is garbage, which a controller collects."""


def _owner(namespace: str) -> Json:
    name = namespace.removeprefix("dev-")
    return {"apiVersion": API, "kind": "DevServerUser", "name": name, "uid": _uids[namespace]}


def _secret(namespace: str, name: str = NAME, **changes: object) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "ownerReferences": [_owner(namespace)]},
        "type": "devservers.io/user",
        "data": {"value": base64.b64encode(b"x").decode()},
    } | changes


def test_person_creates_updates_and_deletes_their_secrets_and_never_reads_them(
    person: Client, namespace: str, admin: Client
) -> None:
    person.create(_secret(namespace))
    person.replace(_secret(namespace, data={"value": base64.b64encode(b"y").decode()}))
    assert base64.b64decode(admin.get("v1", "Secret", NAME, namespace)["data"]["value"]) == b"y"
    for read in (
        partial(person.get, "v1", "Secret", NAME, namespace),
        partial(person.list, "v1", "Secret", namespace),
        partial(person.patch, "v1", "Secret", NAME, {"metadata": {"labels": {"a": "b"}}}, namespace),
    ):
        with pytest.raises(ApiError, match="forbidden"):
            read()
    person.delete("v1", "Secret", NAME, namespace)
    assert admin.find("v1", "Secret", NAME, namespace) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"type": "Opaque"}, "users may write only Secrets with logins to image registries or with values"),
        ({"type": "kubernetes.io/dockerconfigjson"}, "users may write only Secrets"),
        ({"data": {"value": base64.b64encode(b"x" * 40000).decode()}}, "a secret has at most 32 KiB in all"),
        ({"data": {f"k{n}": base64.b64encode(b"x" * 9000).decode() for n in range(4)}}, "at most 32 KiB in all"),
    ],
)
def test_person_writes_no_other_secret_and_none_that_is_large(
    person: Client, namespace: str, changes: Json, says: str
) -> None:
    secret = _secret(namespace, **changes)
    if secret["type"] == "kubernetes.io/dockerconfigjson":
        secret["data"] = {".dockerconfigjson": base64.b64encode(b"{}").decode()}
    with pytest.raises(ApiError, match=says):
        person.create(secret)


def test_person_names_secrets_by_the_prefix_and_owns_them(person: Client, namespace: str) -> None:
    with pytest.raises(ApiError, match="users may write only"):
        person.create(_secret(namespace, "mydev-host-key"))
    secret = _secret(namespace)
    secret["metadata"]["ownerReferences"] = []
    with pytest.raises(ApiError, match="belongs to its DevServerUser"):
        person.create(secret)
    secret = _secret(namespace)
    secret["metadata"]["annotations"] = {"a": "b"}
    with pytest.raises(ApiError, match="has no annotations"):
        person.create(secret)


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        ({"propagationPolicy": "Foreground"}, True),
        ({"propagationPolicy": "Orphan"}, True),
        ({"orphanDependents": "true"}, True),
        ({"propagationPolicy": "Foreground", "dryRun": "All"}, True),
        ({"propagationPolicy": "Background"}, False),
        ({"dryRun": "All"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_person_reads_no_secret_by_deleting_it(
    person: Client, namespace: str, options: dict[str, str], refused: bool
) -> None:
    """A deletion that waits for a controller answers with the object, values and all."""
    person.create(_secret(namespace))
    delete = partial(person.request, "DELETE", path_of("v1", "Secret", namespace, NAME), **options)
    if refused:
        with pytest.raises(ApiError, match="only in the background"):
            delete()
        return
    assert "data" not in delete()


def test_person_deletes_no_host_key_and_no_login(person: Client, namespace: str, admin: Client) -> None:
    """RBAC alone would let them, since it knows no types."""
    admin.create(_secret(namespace, "mydev-host-key", type="Opaque"))
    data = {".dockerconfigjson": base64.b64encode(b"{}").decode()}
    login = _secret(namespace, "registry-x", type="kubernetes.io/dockerconfigjson", data=data)
    person.create(login)
    for name in ("mydev-host-key", "registry-x"):
        with pytest.raises(ApiError, match="users may delete only secrets that they made"):
            person.delete("v1", "Secret", name, namespace)
        admin.delete("v1", "Secret", name, namespace)


def test_person_reads_the_index_and_never_writes_it(person: Client, namespace: str) -> None:
    """What it says is the operator's: no secret can be hidden from administrators, and none made up."""
    assert "data" not in person.get("v1", "ConfigMap", "secrets", namespace)
    for write in (
        partial(person.patch, "v1", "ConfigMap", "secrets", {"data": {NAME: "{}"}}, namespace),
        partial(person.delete, "v1", "ConfigMap", "secrets", namespace),
    ):
        with pytest.raises(ApiError, match="forbidden"):
            write()


def test_devctl_secret_set_and_delete_with_the_persons_rights(
    cluster: ApiServer, person: Client, namespace: str, admin: Client, tmp_path: Path
) -> None:
    user, groups = cluster.service_account(namespace, "devctl")
    devctl = Devctl(tmp_path, cluster.kubeconfig_for(user, groups), namespace.removeprefix("dev-"))
    done = devctl("secret", "set", "hf", typed="s3cret\n")
    assert "s3cret" not in done.stdout + done.stderr
    assert base64.b64decode(admin.get("v1", "Secret", NAME, namespace)["data"]["value"]) == b"s3cret"
    # No operator runs here, so the index doesn't have it.
    assert "add --replace to drop that" in devctl("secret", "set", "hf", typed="other\n", code=6).stderr
    devctl("secret", "set", "hf", "--replace", typed="other\n")
    assert base64.b64decode(admin.get("v1", "Secret", NAME, namespace)["data"]["value"]) == b"other"
    devctl("secret", "delete", "hf", "--yes")
    assert admin.find("v1", "Secret", NAME, namespace) is None
    assert "there is no secret hf" in devctl("secret", "delete", "hf", "--yes", code=3).stderr
