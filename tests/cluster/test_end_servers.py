"""Ending of servers before a stack is destroyed: servers end, homes and other work stay."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest

from devcluster.progress import Progress
from infra.deploy.aws.end_servers import end_servers
from infra.deploy.aws.end_servers_plan import UserClaim
from infra.deploy.kubectl import Kubectl, KubectlError
from tests.support.cluster.client import Client
from tests.support.cluster.harness import ADMIN, ApiServer, find_tool
from tests.support.cluster.shipped import make_namespace
from tests.support.wait import eventually


@pytest.fixture
def kubectl(controllers: ApiServer) -> Kubectl:
    return Kubectl(str(find_tool("kubectl")), controllers.kubeconfig_for(*ADMIN), dict(os.environ))


def deployment(namespace: str) -> dict[str, Any]:
    labels = {"app": "tool"}
    spec = {"containers": [{"name": "a", "image": "a:1"}], "automountServiceAccountToken": False}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "tool", "namespace": namespace},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def home(admin: Client, namespace: str, volume: str) -> None:
    admin.create(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "10Gi"},
                "persistentVolumeReclaimPolicy": "Delete",
                "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": f"vol-{volume}"},
            },
        }
    )
    admin.create(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "box-home", "namespace": namespace},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "10Gi"}},
                "volumeName": volume,
                "storageClassName": "",
            },
        }
    )


def running(admin: Client, namespace: str) -> Callable[[], bool]:
    return lambda: len(admin.list("v1", "Pod", namespace)) == 2


def test_end_servers_ends_servers_and_keeps_homes_and_other_work(
    controllers: ApiServer, kubectl: Kubectl, user_name: str, namespace: str
) -> None:
    admin = controllers.admin
    other = f"tools-{user_name}"
    admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    admin.create(
        {
            "apiVersion": "devservers.io/v1",
            "kind": "DevServer",
            "metadata": {"name": "box", "namespace": namespace},
            "spec": {"owner": user_name, "flavor": "cpu-small"},
        }
    )
    for each in (namespace, other):
        admin.create(deployment(each))
        eventually(running(admin, each), f"two pods in {each}")
    home(admin, namespace, f"pv-{user_name}")
    balanced = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": other},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"app": "tool"}},
    }
    admin.create(balanced)
    said = StringIO()

    homes = end_servers(kubectl, Progress(said))

    handle = f"vol-pv-{user_name}"
    assert UserClaim(namespace, "box-home", f"pv-{user_name}", handle, "10Gi") in homes
    assert admin.list("devservers.io/v1", "DevServer", namespace) == []
    assert admin.list("apps/v1", "Deployment", namespace) == []
    assert admin.list("v1", "Pod", namespace) == []
    assert admin.find("v1", "Service", "web", other) is None
    claim = admin.get("v1", "PersistentVolumeClaim", "box-home", namespace)
    assert "deletionTimestamp" not in claim["metadata"]
    volume = admin.get("v1", "PersistentVolume", f"pv-{user_name}")
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert len(admin.list("v1", "Pod", other)) == 2
    assert admin.get("apps/v1", "Deployment", "tool", other)
    assert "end everybody's devservers" in said.getvalue()

    again = end_servers(kubectl, Progress(StringIO()))
    assert [each for each in again if each.namespace == namespace] == [
        each for each in homes if each.namespace == namespace
    ]


def test_end_servers_with_a_stuck_object_fails_and_names_the_step(
    controllers: ApiServer, kubectl: Kubectl, user_name: str
) -> None:
    """A finalizer whose controller is gone: it ends with the step's name, not for ever."""
    namespace = make_namespace(controllers.admin, user_name)
    stuck = deployment(namespace)
    stuck["metadata"]["finalizers"] = ["example.com/nobody"]
    controllers.admin.create(stuck)
    try:
        with pytest.raises(KubectlError, match=r"kubectl delete deployments\.apps --all failed: .*timed out"):
            end_servers(kubectl, Progress(StringIO()), seconds=2)
    finally:
        clear = {"metadata": {"finalizers": None}}
        controllers.admin.patch("apps/v1", "Deployment", "tool", clear, namespace)


def test_end_servers_of_an_unreachable_cluster_fails_in_two_lines(kubectl: Kubectl, tmp_path: Any) -> None:
    (tmp_path / "kubeconfig").write_text("{}")
    with pytest.raises(KubectlError) as caught:
        end_servers(Kubectl(kubectl.program, tmp_path / "kubeconfig", kubectl.env), Progress(StringIO()))
    assert len(str(caught.value).splitlines()) == 2
