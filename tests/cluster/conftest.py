"""Invariant: one API server a session; tests keep apart by namespace and name, not by cleaning up.

`api_server` is bare, `cluster` has the CRDs and admission policies exactly as shipped, `controllers` adds
Kubernetes' own controllers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from devservers_core.errors import ApiError
from devservers_core.types import Json
from tests.cluster.client import Client, eventually
from tests.cluster.harness import ApiServer, running_api_server, running_controllers

SHIPPED = Path(__file__).resolve().parents[2] / "operator" / "crds"

_users = itertools.count(1)


@pytest.fixture(scope="session")
def api_server() -> Iterator[ApiServer]:
    """A bare API server."""
    with running_api_server() as server:
        yield server


@pytest.fixture(scope="session")
def cluster(api_server: ApiServer) -> ApiServer:
    """The API server with what operator/crds holds, in force."""
    install(api_server.admin)
    return api_server


@pytest.fixture(scope="session")
def controllers(cluster: ApiServer) -> Iterator[ApiServer]:
    """The same, with Deployments, garbage collection, namespace deletion and quota at work; no kubelet."""
    with running_controllers(cluster):
        yield cluster


@pytest.fixture
def admin(cluster: ApiServer) -> Client:
    """A client that may do everything, CRDs installed."""
    return cluster.admin


@pytest.fixture
def user_name() -> str:
    """A user name of this test alone."""
    return f"user{next(_users)}"


@pytest.fixture
def namespace(admin: Client, user_name: str) -> str:
    """A user's namespace as the operator would make it, every flavor allowed."""
    return make_namespace(admin, user_name)


@pytest.fixture
def restricted_namespace(admin: Client, user_name: str) -> Callable[[str], str]:
    """Makes this test's user namespace with the allowed-flavors annotation that it is given."""
    return lambda flavors: make_namespace(admin, user_name, flavors)


def make_namespace(admin: Client, user: str, flavors: str = "*") -> str:
    """`dev-<user>` with the labels and the annotation that admission reads."""
    name = f"dev-{user}"
    admin.create(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "labels": {"devservers.io/user": user},
                "annotations": {"devservers.io/allowed-flavors": flavors},
            },
        }
    )
    return name


def install(admin: Client) -> None:
    """Apply operator/crds and wait until the kinds are served and the policies refuse what they should."""
    manifests: list[Json] = [
        manifest for file in sorted(SHIPPED.glob("*.yaml")) for manifest in yaml.safe_load_all(file.read_text())
    ]
    for manifest in manifests:
        admin.apply(manifest)
    for manifest in manifests:
        if manifest["kind"] == "CustomResourceDefinition":
            eventually(partial(_established, admin, manifest["metadata"]["name"]), "CRD established")
    if any(manifest["kind"] == "ValidatingAdmissionPolicyBinding" for manifest in manifests):
        eventually(lambda: _policies_in_force(admin), "admission policies in force")


def _established(admin: Client, name: str) -> bool:
    crd = admin.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name)
    conditions = crd.get("status", {}).get("conditions", [])
    served = any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
    if served:
        try:
            admin.list("devservers.io/v1", crd["spec"]["names"]["kind"])
        except ApiError:
            return False
    return served


def _policies_in_force(admin: Client) -> bool:
    server = {
        "apiVersion": "devservers.io/v1",
        "kind": "DevServer",
        "metadata": {"name": "probe", "namespace": "default"},
        "spec": {"flavor": "cpu-small"},
    }
    try:
        admin.create(server, dryRun="All")
    except ApiError as error:
        return error.status == 422
    return False
