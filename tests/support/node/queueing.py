"""Pods, Jobs, flavors and LocalQueues for the node tests of queueing.

Invariant: pods in a queue are labelled as the operator labels servers, and pass Pod Security.
"""

from __future__ import annotations

import json

from devservers_core.names import GPU, KUEUE_API_VERSION, LABEL_PRIORITY, LABEL_QUEUE, QUEUES
from devservers_core.types import Json
from tests.support.node.person import Platform

CPU_LIMIT = "1"
"""The start of a container counts against its CPU limit: with 10m it took 20 seconds, and longer on a busy machine."""


def default_image(platform: Platform) -> str:
    """The image of servers that name none: it is on the node."""
    deployment = platform.get("deployment", "devservers-operator", "-n", "devservers-system")
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    return str(next(each["value"] for each in env if each["name"] == "DEVSERVERS_DEFAULT_IMAGE"))


def local_queues(namespace: str) -> list[Json]:
    """A LocalQueue of each ClusterQueue, called as it is: as a user's namespace has them."""
    return [
        {
            "apiVersion": KUEUE_API_VERSION,
            "kind": "LocalQueue",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterQueue": name},
        }
        for name in QUEUES
    ]


def gpu_flavor(name: str, gpus: int) -> Json:
    """A size with that many GPUs and next to nothing else."""
    amounts = {"cpu": "50m", "memory": "64Mi", GPU: str(gpus)}
    limits = amounts | {"cpu": CPU_LIMIT, "memory": "512Mi"}
    return {
        "apiVersion": "devservers.io/v1",
        "kind": "DevServerFlavor",
        "metadata": {"name": name},
        "spec": {"resources": {"requests": amounts, "limits": limits}, "shmSize": "64Mi"},
    }


def pod(name: str, namespace: str, image: str, gpus: int, queue: str = "", priority: str = "") -> Json:
    """A pod that runs until it is deleted; without a queue it asks for none."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": _labels(queue, priority)},
        "spec": _spec(image, gpus),
    }


def job(name: str, namespace: str, image: str, gpus: int, queue: str, priority: str) -> Json:
    """A Job of one such pod, suspended until Kueue lets it go."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace, "labels": _labels(queue, priority)},
        "spec": {
            "suspend": True,
            "backoffLimit": 0,
            "template": {"spec": {**_spec(image, gpus), "restartPolicy": "Never"}},
        },
    }


def apply(platform: Platform, *manifests: Json) -> None:
    """Make these, strictly: a misspelt field is an error."""
    text = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
    platform.cluster.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--validate=strict", "--field-manager=test", "-f", "-"),
        text=text,
    )


def state(platform: Platform, namespace: str) -> str:
    """Pods, Jobs, Workloads and Events of a namespace and the queues' usage, for the report of a wait that failed."""
    lines = []
    for pod in platform.get("pods", "-n", namespace)["items"]:
        status, spec = pod["status"], pod["spec"]
        containers = {each["name"]: each["state"] for each in status.get("containerStatuses", [])}
        gates = [each["name"] for each in spec.get("schedulingGates", [])]
        deleted = pod["metadata"].get("deletionTimestamp", "no")
        lines.append(
            f"Pod {pod['metadata']['name']}: phase {status.get('phase')}, node {spec.get('nodeName')}, gates {gates}, "
            f"deleted {deleted}, containers {containers}, {_conditions(pod)}"
        )
    for job in platform.get("jobs.batch", "-n", namespace)["items"]:
        counts = {key: job["status"].get(key) for key in ("active", "ready", "failed")}
        lines.append(
            f"Job {job['metadata']['name']}: suspend {job['spec'].get('suspend')}, {counts}, {_conditions(job)}"
        )
    for workload in platform.get("workloads.kueue.x-k8s.io", "-n", namespace)["items"]:
        name, active = workload["metadata"]["name"], workload["spec"].get("active")
        lines.append(f"Workload {name}: active {active}, {_conditions(workload)}")
    for queue in platform.get("clusterqueues.kueue.x-k8s.io")["items"]:
        status = queue.get("status", {})
        usage = {key: status.get(key) for key in ("pendingWorkloads", "admittedWorkloads", "flavorsReservation")}
        lines.append(f"ClusterQueue {queue['metadata']['name']}: {usage}, {_conditions(queue)}")
    events = platform.get("events", "-n", namespace, "--sort-by=.metadata.creationTimestamp")["items"]
    for event in events[-15:]:
        about = event["involvedObject"]
        lines.append(
            f"Event {event['metadata']['creationTimestamp']} {about.get('kind')} {about.get('name')}: "
            f"{event.get('reason')}: {event.get('message')}"
        )
    return "\n".join(lines)


def _conditions(thing: Json) -> str:
    found = thing.get("status", {}).get("conditions", [])
    words = [f"{each['type']}={each['status']} ({each.get('reason', '')}: {each.get('message', '')})" for each in found]
    return f"conditions {words}"


def _labels(queue: str, priority: str) -> dict[str, str]:
    return {key: value for key, value in ((LABEL_QUEUE, queue), (LABEL_PRIORITY, priority)) if value}


def _spec(image: str, gpus: int) -> Json:
    amounts = {"cpu": "10m", "memory": "64Mi"} | ({GPU: str(gpus)} if gpus else {})
    return {
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 20000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "c",
                "image": image,
                "command": ["sleep", "3600"],
                "resources": {"requests": amounts, "limits": amounts | {"cpu": CPU_LIMIT}},
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    }
