"""The time from create to SSH on the real node, beside a bare pod's."""

from __future__ import annotations

import json
import time

from tests.bench.figure import Figure, percentile
from tests.support.node.person import Person

RUNS = 20


def create_to_ssh(ann: Person, image: str) -> list[Figure]:
    """`devctl create` typed to the first SSH command answered, in turn with a bare pod's create to Running."""
    cluster = ann.platform.cluster
    bare: list[float] = []
    server: list[float] = []
    for number in range(RUNS + 1):  # the first pair warms up and is not counted
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"bare{number}", "namespace": "default"},
            "spec": {
                "containers": [{"name": "c", "image": image, "command": ["sleep", "600"]}],
                "terminationGracePeriodSeconds": 0,
            },
        }
        begin = time.monotonic()
        cluster.kubectl("apply", "-f", "-", text=json.dumps(pod))
        cluster.kubectl(
            "wait", "pod", f"bare{number}", "-n", "default", "--for=jsonpath={.status.phase}=Running", "--timeout=60s"
        )
        bare.append(time.monotonic() - begin)
        cluster.kubectl("delete", "pod", f"bare{number}", "-n", "default", "--now")
        name = f"bench{number}"
        begin = time.monotonic()
        ann.devctl("create", name)
        ann.ssh(name, "true")  # which waits for the server
        server.append(time.monotonic() - begin)
        ann.devctl("delete", name, "--yes", "--purge")
        gone = ("wait", "pod", "-n", ann.namespace, f"-ldevservers.io/name={name}", "--for=delete", "--timeout=60s")
        cluster.kubectl(*gone)
    bare, server = bare[1:], server[1:]
    return [
        Figure(name, percentile(server, share), "s", percentile(bare, share), bound=2.5, runs=len(server))
        for name, share in (("create_to_ssh_p50", 0.5), ("create_to_ssh_p95", 0.95))
    ]
