"""Installs Kueue's CRDs in the cluster tests and simulates its controller.

Invariant: Kueue's kinds are the real ones, from its own chart; what Kueue does with them is played by the test.

There is no controller in this tier: FakeKueue writes Workloads as Kueue 0.18 does (one per pod that asks for a queue,
owned by it), and lets a test say who is admitted. tests/node has the real one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from devservers_core.errors import ApiError
from devservers_core.types import Json
from tests.support.cluster.client import Client, repeating
from tests.support.cluster.harness import find_tool
from tests.support.cluster.kinds import install_kinds, remove_kinds
from tests.support.cluster.watched import Watched

KUEUE = "kueue.x-k8s.io/v1beta2"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
GPU = "nvidia.com/gpu"
KINDS = ("ClusterQueue", "LocalQueue", "Workload", "ResourceFlavor", "WorkloadPriorityClass")
WAITS = (
    "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor gpu-l4, "
    "1 more needed"
)

NEVER = (
    "couldn't assign flavors to pod set main: insufficient quota for nvidia.com/gpu in flavor gpu-l4, previously "
    "considered podsets requests (0) + current podset request (8) > maximum capacity (4)"
)


def crds() -> Iterator[Json]:
    """The CustomResourceDefinitions of the chart, without the conversion webhook, which nobody serves here."""
    chart = os.environ.get("DEVSERVERS_KUEUE_CHART")
    folder = (Path(chart) if chart else find_tool("kueue").parent / "chart") / "templates" / "crd"
    for kind in KINDS:
        plural = {"WorkloadPriorityClass": "workloadpriorityclasses"}.get(kind, f"{kind.lower()}s")
        text = (folder / f"kueue.x-k8s.io_{plural}.yaml").read_text()
        text = re.sub(r"{{-? (/\*.*?\*/|if .*?{{-? end) -?}}", "", text, flags=re.S)
        plain = "\n".join(line for line in text.splitlines() if "{{" not in line or "'{{" in line)
        crd = yaml.safe_load(plain)
        crd["metadata"].pop("labels", None)
        crd["spec"].pop("conversion", None)
        yield crd


def install_kueue(admin: Client) -> None:
    """Kueue's kinds, served."""
    install_kinds(admin, crds(), KUEUE, KINDS)


def remove_kueue(admin: Client) -> None:
    """No kind of Kueue's, as on a cluster that never had it."""
    remove_kinds(admin, (crd["metadata"]["name"] for crd in crds()), KUEUE, KINDS)


def cluster_queue(name: str = "interactive", gpus: int = 4) -> Json:
    """A ClusterQueue with one pool of GPUs."""
    quotas = [{"name": "cpu", "nominalQuota": "1000"}, {"name": GPU, "nominalQuota": str(gpus)}]
    group = {"coveredResources": ["cpu", GPU], "flavors": [{"name": "gpu-l4", "resources": quotas}]}
    spec = {"cohortName": "devservers", "namespaceSelector": {}, "resourceGroups": [group]}
    return {"apiVersion": KUEUE, "kind": "ClusterQueue", "metadata": {"name": name}, "spec": spec}


def reserve(admin: Client, gpus: int, name: str = "interactive") -> None:
    """The ClusterQueue says that so many GPUs are in use."""
    used = [{"name": "gpu-l4", "resources": [{"name": GPU, "total": str(gpus), "borrowed": "0"}]}]
    status = {"flavorsReservation": used, "pendingWorkloads": 0, "reservingWorkloads": 0, "admittedWorkloads": 0}
    admin.patch(KUEUE, "ClusterQueue", name, {"status": status}, subresource="status")


def condition(kind: str, status: str, reason: str, message: str) -> Json:
    """A condition as of now."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now}


class FakeKueue:
    """Makes the Workload of every pod that asks for a queue; servers in `admitted` get quota, the others wait."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.admitted: set[str] = set()
        """(`user/server`)"""
        self._ungated: set[str] = set()
        """Pods whose Workloads say that they are admitted."""
        self.told: dict[str, tuple[str, str]] = {}
        """The reason and message of those that wait, by `user/server`."""
        self._pods = Watched(client, "v1", "Pod", labelSelector=QUEUE_LABEL)
        self._working = repeating(self._work, 0.1, "Kueue")

    def __enter__(self) -> FakeKueue:
        self._pods.__enter__()
        self._working.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._pods.__exit__(*raised)
        self._working.__exit__(*raised)

    def may_run(self, pod: Json) -> bool:
        """Whether the scheduler may have a pod: in no queue, or with an admitted Workload, like Kueue's gate."""
        return QUEUE_LABEL not in pod["metadata"]["labels"] or pod["metadata"]["uid"] in self._ungated

    def workload(self, pod: Json) -> Json | None:
        """The Workload of a pod."""
        name = f"pod-{pod['metadata']['name']}"
        return self._client.find(KUEUE, "Workload", name, pod["metadata"]["namespace"])

    def tell(self, pod: Json, *conditions: Json, **spec: Any) -> None:
        """Writes a Workload's conditions, and fields of its spec."""
        place = ("Workload", f"pod-{pod['metadata']['name']}")
        namespace = pod["metadata"]["namespace"]
        if spec:
            self._client.patch(KUEUE, *place, {"spec": spec}, namespace)
        self._client.patch(KUEUE, *place, {"status": {"conditions": list(conditions)}}, namespace, subresource="status")

    def _work(self) -> None:
        for pod in self._pods.objects():
            if not pod["metadata"].get("deletionTimestamp"):
                self._sync_pod(pod)

    def _is_there(self) -> bool:
        try:
            self._client.list(KUEUE, "Workload")
        except ApiError as error:
            return error.status != 404
        return True

    def _sync_pod(self, pod: Json) -> None:
        if _server_key(pod) in self.admitted and not self._is_there():
            self._ungated.add(pod["metadata"]["uid"])  # without Kueue there is no gate
            return
        with suppress(ApiError):
            found = self.workload(pod) or self._client.create(_workload(pod))
            known = {each["type"]: each["status"] for each in (found.get("status") or {}).get("conditions") or []}
            if _server_key(pod) in self.admitted:
                if known.get("Admitted") != "True" and known.get("Evicted") != "True":
                    self.tell(
                        pod,
                        condition(
                            "QuotaReserved", "True", "QuotaReserved", "Quota reserved in ClusterQueue interactive"
                        ),
                        condition("Admitted", "True", "Admitted", "The workload is admitted"),
                    )
                if known.get("Evicted") != "True":
                    self._ungated.add(pod["metadata"]["uid"])
            elif not known:
                reason, message = self.told.get(_server_key(pod), ("Pending", WAITS))
                self.tell(pod, condition("QuotaReserved", "False", reason, message))


def _server_key(pod: Json) -> str:
    labels = pod["metadata"]["labels"]
    return f"{labels.get('devservers.io/user')}/{labels.get('devservers.io/name')}"


def _workload(pod: Json) -> Json:
    metadata, spec = pod["metadata"], pod["spec"]
    containers = [{"name": each["name"], "image": each["image"], "resources": each["resources"]}
                  for each in spec["containers"]]  # fmt: skip
    owner = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"], "controller": True}
    return {
        "apiVersion": KUEUE,
        "kind": "Workload",
        "metadata": {
            "name": f"pod-{metadata['name']}",
            "namespace": metadata["namespace"],
            "ownerReferences": [owner],
        },
        "spec": {
            "queueName": metadata["labels"][QUEUE_LABEL],
            "priority": 1000,
            "priorityClassRef": {
                "group": "kueue.x-k8s.io",
                "kind": "WorkloadPriorityClass",
                "name": metadata["labels"]["kueue.x-k8s.io/priority-class"],
            },
            "podSets": [
                {"name": "main", "count": 1, "template": {"spec": {"containers": containers, "restartPolicy": "Never"}}}
            ],
        },
    }
