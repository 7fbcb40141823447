"""devctl and what a user may use: flavors, quota, masked secrets and servers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cluster.client import Client
from tests.support.cluster.devctl import API, Devctl, server
from tests.support.cluster.harness import ApiServer

pytestmark = pytest.mark.usefixtures("devctl_flavors")


@pytest.fixture
def person(cluster: ApiServer, restricted_namespace: Callable[[str], str], user_name: str, tmp_path: Path) -> Devctl:
    """Somebody who may use one flavor, which isn't the platform's default."""
    resources = {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
    cluster.admin.apply(
        {"apiVersion": API, "kind": "DevServerFlavor", "metadata": {"name": "devctl-medium"},
         "spec": {"description": "the medium one", "resources": resources}}
    )  # fmt: skip
    restricted_namespace("devctl-medium")
    return Devctl(tmp_path, cluster.kubeconfig_for("test-admin", ("system:masters",)), user_name)


def limit(admin: Client, namespace: str, hard: dict[str, str], used: dict[str, str]) -> None:
    """A quota that says what is in use, as the controller counts it, which runs here only if another test wants it."""
    admin.create(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "dev-user", "namespace": namespace},
         "spec": {"hard": hard}}
    )  # fmt: skip
    status = {"status": {"hard": hard, "used": used}}
    admin.patch("v1", "ResourceQuota", "dev-user", status, namespace, subresource="status")


def test_flavors_and_create_respect_the_allowed_flavors(person: Devctl, admin: Client, user_name: str) -> None:
    shown = person("flavors")
    assert "devctl-medium*" in shown.stdout
    assert "devctl-small" not in shown.stdout
    assert "more that you may not use" in shown.stderr
    assert "devctl-small" in person("flavors", "--all").stdout
    person("create", "mydev")
    assert server(admin, f"dev-{user_name}")["spec"]["flavor"] == "devctl-medium"
    refused = person("create", "other", "devctl-small", code=6).stderr
    assert "you may not use flavor 'devctl-small'" in refused
    assert "devctl-medium" in refused
    unknown = person("create", "other", "devctl-mediun", code=6).stderr
    assert "did you mean devctl-medium?" in unknown
    assert "devctl-huge" not in unknown


def test_flavors_free_column_counts_the_users_quota(person: Devctl, admin: Client, user_name: str) -> None:
    namespace = f"dev-{user_name}"
    admin.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}})
    container = {"name": "busy", "image": "localhost/busy", "resources": {"requests": {"cpu": "4500m"}}}
    pod = {"metadata": {"name": "busy", "namespace": namespace}, "spec": {"containers": [container]}}
    admin.create({"apiVersion": "v1", "kind": "Pod", **pod})
    limit(admin, namespace, {"requests.cpu": "7"}, {"requests.cpu": "4500m"})
    (row,) = [line for line in person("flavors").stdout.splitlines() if line.startswith("devctl-medium")]
    assert "1 of 3" in row


def test_create_over_the_quota_is_refused_with_the_numbers(person: Devctl, admin: Client, user_name: str) -> None:
    count = "count/devservers.devservers.io"
    person("create", "first")
    hard = {count: "1", "services.nodeports": "0", "persistentvolumeclaims": "100"}
    limit(admin, f"dev-{user_name}", hard, {count: "1", "services.nodeports": "0", "persistentvolumeclaims": "2"})
    refused = person("create", "mydev", code=6).stderr
    assert "servers: 1 of 1 in use, 1 more asked" in refused
    assert "stopped ones count too" in refused
    assert count not in refused
    shown = person("status").stdout
    assert "quota of servers:" in shown
    assert "1 of 1 used" in shown
    assert "quota of volumes:" in shown
    assert "nodeports" not in shown
    assert "not visible" not in shown


def test_describe_masks_secrets_without_show_env(person: Devctl) -> None:
    person("create", "mydev", "-e", "HF_TOKEN=x1y2z3", "-e", "EPOCHS=3")
    shown = person("describe", "mydev").stdout
    assert "HF_TOKEN=***" in shown
    assert "x1y2z3" not in shown
    assert "EPOCHS=3" in shown
    assert "HF_TOKEN=x1y2z3" in person("describe", "mydev", "--show-env").stdout


def test_code_for_an_unknown_server_suggests_a_name(person: Devctl) -> None:
    person("create", "mydev")
    person("create", "nossh", "--no-ssh")
    assert "mydev.devserver" in person("code", "mydev").stdout
    missing = person("code", "mydv", code=3)
    assert "did you mean mydev?" in missing.stderr
    assert not missing.stdout
    assert "has no SSH" in person("code", "nossh", code=1).stderr
