"""Pods in a queue that belong to no server, as a local teardown lists them."""

from __future__ import annotations

import os
from typing import Any

import pytest

from infra.deploy.kubectl import Kubectl
from infra.deploy.local.end_servers import foreign_workloads
from tests.support.cluster.client import Client
from tests.support.cluster.harness import ADMIN, ApiServer, find_tool
from tests.support.wait import eventually

HELD = {"kueue.x-k8s.io/managed": "true"}
SPEC = {"containers": [{"name": "a", "image": "a:1"}], "automountServiceAccountToken": False}


@pytest.fixture
def kubectl(controllers: ApiServer) -> Kubectl:
    return Kubectl(str(find_tool("kubectl")), controllers.kubeconfig_for(*ADMIN), dict(os.environ))


def pod(name: str, namespace: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": HELD, **metadata},
        "spec": SPEC,
    }


def test_foreign_workloads_lists_a_pod_without_a_server_only(
    admin: Client, kubectl: Kubectl, user_name: str, namespace: str
) -> None:
    server = admin.create(
        {
            "apiVersion": "devservers.io/v1",
            "kind": "DevServer",
            "metadata": {"name": "box", "namespace": namespace},
            "spec": {"owner": user_name, "flavor": "cpu-small"},
        }
    )
    labels = {"app": "box", **HELD}
    owner = {key: server[key] for key in ("apiVersion", "kind")}
    for kind, app in (("Deployment", "box"), ("StatefulSet", "boxes")):
        admin.create(
            {
                "apiVersion": "apps/v1",
                "kind": kind,
                "metadata": {
                    "name": app,
                    "namespace": namespace,
                    "ownerReferences": [{**owner, "name": "box", "uid": server["metadata"]["uid"]}],
                },
                "spec": {
                    "selector": {"matchLabels": {"app": app}},
                    "template": {"metadata": {"labels": {**labels, "app": app}}, "spec": SPEC},
                    **({"serviceName": app} if kind == "StatefulSet" else {}),
                },
            }
        )
    eventually(lambda: len(admin.list("v1", "Pod", namespace)) == 2, "the pods of the server's workloads")

    def in_namespace() -> list[str]:
        return [each for each in foreign_workloads(kubectl) if f" {namespace}/" in each]

    assert in_namespace() == []
    admin.create(pod("byhand", namespace))
    assert in_namespace() == [f"Pod {namespace}/byhand"]
    assert "deletionTimestamp" not in admin.get("devservers.io/v1", "DevServer", "box", namespace)["metadata"]
    admin.delete("v1", "Pod", "byhand", namespace)
    eventually(lambda: in_namespace() == [], "nothing but the server's pod")
