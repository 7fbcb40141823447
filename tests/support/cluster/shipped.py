"""Installs operator/crds, and makes namespaces as the operator would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import yaml

from devservers_core.errors import ApiError
from devservers_core.types import Json
from tests.support.cluster.client import Client
from tests.support.wait import eventually

SHIPPED = Path(__file__).resolve().parents[3] / "operator" / "crds"


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


@contextmanager
def rules_of_before(admin: Client) -> Iterator[None]:
    """The kinds without any rule while something is made, as a platform without them had."""
    names = ["devservers.devservers.io", "devserverusers.devservers.io"]
    kinds = [admin.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name) for name in names]
    try:
        for kind in kinds:
            admin.patch("apiextensions.k8s.io/v1", "CustomResourceDefinition", kind["metadata"]["name"], _bare(kind))
        eventually(lambda: not _rules_in_force(admin), "the rules gone")
        yield
    finally:
        install(admin)
        # The rules are in force a moment after they are stored.
        eventually(lambda: _rules_in_force(admin), "the rules back")


def _rules_in_force(admin: Client) -> bool:
    probe = {
        "apiVersion": "devservers.io/v1",
        "kind": "DevServerUser",
        "metadata": {"name": "probe"},
        "spec": {"username": "probe", "budget": 1},
    }
    try:
        admin.create(probe, dryRun="All")
    except ApiError as error:
        return "not available yet" in error.message
    return False


def _bare(value: object) -> Json:
    """A CRD's spec without CEL rules."""

    def without(each: object) -> object:
        if isinstance(each, dict):
            return {key: without(one) for key, one in each.items() if key != "x-kubernetes-validations"}
        return [without(one) for one in each] if isinstance(each, list) else each

    assert isinstance(value, dict)
    return {"spec": {"versions": without(value["spec"]["versions"])}}


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
