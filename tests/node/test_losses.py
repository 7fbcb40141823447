"""Messages about an eviction, a deleted home and a missing volume on a kubelet."""

from __future__ import annotations

import json

from tests.support.node.person import Person


def test_devctl_with_an_eviction_and_a_deleted_home_reports_both(ann: Person) -> None:
    kubectl, namespace = ann.platform.cluster.kubectl, ann.namespace
    ann.devctl("create", "lost", "--wait", "3m")
    try:
        ann.ssh("lost", "echo precious > work")
        pod = ann.server("lost")["status"]["podName"]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
        kubectl("create", "--raw", path, "-f", "-", text=json.dumps(eviction))
        ann.await_output("evicted from its node", "describe", "lost")
        ann.await_server(
            "lost",
            lambda server: (
                server["status"].get("podName") not in (None, pod) and server["status"]["phase"] == "Running"
            ),
            "the server to run again",
            120,
        )
        assert "evicted from its node" in ann.devctl("describe", "lost").stdout, "it stays told"
        assert "Evicted" in ann.devctl("events", "lost").stdout
        assert ann.ssh("lost", "cat work").stdout == "precious\n"

        kubectl("delete", "pvc", "lost-home", "-n", namespace, "--wait=false")
        ann.await_output("being deleted", "list")
        assert "BEING DELETED" in ann.devctl("describe", "lost").stdout
        for words in ("stop", "restart"):
            refused = ann.devctl(words, "lost", check=False)
            assert refused.returncode == 2
            assert "lost-home" in refused.stderr
        assert ann.ssh("lost", "cat work").stdout == "precious\n", "it can still be copied out"
        ann.devctl("restart", "lost", "--yes", "--wait", "3m")
        described = ann.devctl("describe", "lost").stdout
        assert "kept when stopped" in described
        assert "BEING DELETED" not in described
        assert "evicted" not in described.split("Recent events")[0], "its owner has restarted it"

        ann.devctl("stop", "lost", "--wait", "60s")
        started = ann.devctl("start", "lost", "--wait", "3m").stderr
        assert started.count("SSHReady") == 1, started
        assert "Stopped" not in started, started
    finally:
        ann.devctl("delete", "lost", "--yes", "--purge", check=False)


def test_create_with_a_volume_that_cannot_be_mounted_gives_the_reason(ann: Person) -> None:
    """An NFS server that isn't there; on AWS it is an EFS without mount target, or a volume held by another node."""
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "nowhere"},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "capacity": {"storage": "1Gi"},
            "nfs": {"server": "127.0.0.1", "path": "/nowhere"},
            "claimRef": {"namespace": ann.namespace, "name": "nowhere"},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "nowhere", "namespace": ann.namespace},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "",
            "volumeName": "nowhere",
        },
    }
    kubectl = ann.platform.cluster.kubectl
    for each in (volume, claim):
        kubectl("apply", "-f", "-", text=json.dumps(each))
    try:
        done = ann.devctl("create", "mnt", "-v", "nowhere:/data", "--ephemeral", "--wait", "75s", check=False)
        assert done.returncode == 5, done.stderr
        assert "The volume claim nowhere can't be mounted" in done.stderr
        assert "can't be mounted" in ann.devctl("list").stdout
    finally:
        ann.devctl("delete", "mnt", "--yes", check=False)
        kubectl("delete", "pvc", "nowhere", "-n", ann.namespace, "--wait=false")
        kubectl("delete", "pv", "nowhere", "--wait=false")
