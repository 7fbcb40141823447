"""The agent's port of a server: the operator's namespace and monitoring reach it, nobody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from devcluster.cluster import ClusterError
from devservers_core.names import AGENT_PORT, LABEL_NAME, LABEL_SCRAPE, SYSTEM_NAMESPACE
from tests.support.node import queueing
from tests.support.node.person import Person, Platform
from tests.support.node.wait import eventually

_POD = "agent-probe"
_LISTEN = f"nohup python3 -m http.server {AGENT_PORT} --directory /opt/devservers >/dev/null 2>&1 & sleep 1"
"""Where no agent has the port; where one has, this ends at once."""


@pytest.fixture(scope="module")
def agent_address(ann: Person, devserver: str) -> str:
    """The address of a server's pod that answers on the agent's port."""
    ann.ssh(devserver, _LISTEN)
    pods = ann.platform.get("pods", "-n", ann.namespace, "-l", f"{LABEL_NAME}={devserver}")["items"]
    return str(pods[0]["status"]["podIP"])


@pytest.mark.parametrize(
    ("namespace", "labels", "reaches"),
    [
        (SYSTEM_NAMESPACE, None, True),
        ("agent-monitoring", {LABEL_SCRAPE: "true"}, True),
        ("agent-stranger", {}, False),
        ("agent-stranger-unscraped", {LABEL_SCRAPE: "false"}, False),
    ],
)
def test_agent_port_from_a_pod_is_open_to_operator_and_monitoring_only(
    platform: Platform, agent_address: str, namespace: str, labels: dict[str, str] | None, reaches: bool
) -> None:
    with _probe(platform, namespace, labels):
        probe = f"timeout 3 bash -c '</dev/tcp/{agent_address}/{AGENT_PORT}'"

        def connects() -> bool:
            try:
                platform.cluster.kubectl("exec", "-n", namespace, _POD, "--", "bash", "-c", probe)
            except ClusterError:
                return False
            return True

        eventually(lambda: connects() is reaches, f"the port to be {'open' if reaches else 'closed'}", 30)


def test_agent_port_from_a_neighbour_server_is_refused(ann: Person, agent_address: str) -> None:
    """Another server of the same person is a stranger too."""
    ann.devctl("create", "agentless", "--ephemeral", "--wait", "3m")
    try:
        probe = f"timeout 3 bash -c '</dev/tcp/{agent_address}/{AGENT_PORT}'"
        eventually(lambda: ann.ssh("agentless", probe, check=False).returncode != 0, "the neighbour to be kept out", 30)
    finally:
        ann.devctl("delete", "agentless", "--yes")


@contextmanager
def _probe(platform: Platform, namespace: str, labels: dict[str, str] | None) -> Iterator[None]:
    """A pod to connect from; with `labels` its namespace is made with them and deleted in the end."""
    kubectl = platform.cluster.kubectl
    if labels is not None:
        made: Any = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
        kubectl("apply", "-f", "-", text=json.dumps(made))
        kubectl("wait", "-n", namespace, "serviceaccount/default", "--for=create", "--timeout=30s")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": _POD, "namespace": namespace},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "probe",
                    "image": queueing.default_image(platform),
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "600"],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
    kubectl("apply", "-f", "-", text=json.dumps(pod))
    try:
        kubectl("wait", "-n", namespace, f"pod/{_POD}", "--for=condition=Ready", "--timeout=60s")
        yield
    finally:
        if labels is None:
            kubectl("delete", "pod", _POD, "-n", namespace, "--now")
        else:
            kubectl("delete", "namespace", namespace, "--wait=false")
