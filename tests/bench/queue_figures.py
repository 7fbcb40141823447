"""What somebody waits for after quota came free, on the real node with the real Kueue and a pretended GPU.

Measured on pods labelled as the operator labels those of servers: what is between a server and its pod is no part of
the figure.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from devservers.api.queueing import INTERACTIVE, PRIORITY_INTERACTIVE
from infra.local.toolchain import need
from tests.bench.figure import Figure, percentile
from tests.node import queued
from tests.node.person import Person

RUNS = 20
DEADLINE_SECONDS = 60
GPUS = 1
_COLUMNS = r'{.metadata.name} phase={.status.phase} node={.spec.nodeName}{"\n"}'


def queue_to_running(ann: Person) -> list[Figure]:
    """From the moment the API shows that the pod with the GPU has ended, to the next one's being scheduled."""
    platform, namespace = ann.platform, ann.namespace
    image = queued.default_image(platform)
    queued.apply(platform, *queued.local_queues(namespace))
    taken: list[float] = []
    with _watched(ann) as lines:
        queued.apply(platform, _pod(0, namespace, image))
        _seen(lines, "wait0 phase=Running")
        for number in range(1, RUNS + 2):  # the first is not counted
            queued.apply(platform, _pod(number, namespace, image))
            _seen(lines, f"wait{number} phase=Pending node=")
            platform.cluster.kubectl("delete", "pod", f"wait{number - 1}", "-n", namespace, "--wait=false")
            freed = _seen(lines, f"wait{number - 1} phase=Failed", f"wait{number - 1} phase=Succeeded")
            taken.append(_seen(lines, f"wait{number} phase=Pending node=devservers") - freed)
            _seen(lines, f"wait{number} phase=Running")
    platform.cluster.kubectl("delete", "pod", f"wait{RUNS + 1}", "-n", namespace, "--wait=false")
    taken = taken[1:]
    return [Figure("queue_to_running", percentile(taken, 0.95), "s", bound=3, runs=len(taken))]


def _pod(number: int, namespace: str, image: str) -> queued.Manifest:
    return queued.pod(f"wait{number}", namespace, image, GPUS, INTERACTIVE, PRIORITY_INTERACTIVE)


@contextmanager
def _watched(ann: Person) -> Iterator[Iterator[str]]:
    """A line for each change of a pod in the namespace, as it comes."""
    cluster = ann.platform.cluster
    command = [str(need("kubectl")), f"--kubeconfig={cluster.kubeconfig}", "get", "pods", "-n", ann.namespace]
    with subprocess.Popen(
        [*command, "--watch", "-o", f"jsonpath={_COLUMNS}"], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        try:
            yield iter(running.stdout)
        finally:
            running.terminate()


def _seen(lines: Iterator[str], *wanted: str) -> float:
    """When a line came that begins with one of these; lines before it are passed over."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    last = ""
    for line in lines:
        now = time.monotonic()
        if line.startswith(wanted):
            return now
        last = line
        if now > deadline:
            break
    raise AssertionError(f"waited {DEADLINE_SECONDS} s for a pod to be {wanted}; last seen: {last!r}")
