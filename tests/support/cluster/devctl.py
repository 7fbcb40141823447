"""Runs devctl as a process against an API server; writes the operator's status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.cluster.client import Client
from tests.support.cluster.harness import ApiServer

API = "devservers.io/v1"
Done = subprocess.CompletedProcess[str]
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


class Devctl:
    """A person's devctl: their home folder, their kubeconfig, their namespace."""

    def __init__(self, home: Path, kubeconfig: Path, user: str) -> None:
        self.environ = {
            "HOME": str(home), "PATH": os.environ["PATH"], "KUBECONFIG": str(kubeconfig), "DEVCTL_USER": user
        }  # fmt: skip

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Begin a run; its streams are pipes."""
        return subprocess.Popen(
            [sys.executable, "-m", "devctl", *words],
            env=self.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, *words: str, code: int = 0, typed: str = "") -> Done:
        """Run to the end and check the exit code; a failure must be two lines on stderr."""
        running = self.start(*words)
        out, err = running.communicate(typed, timeout=60)
        assert running.returncode == code, f"{words} ended with {running.returncode}: {out}{err}"
        assert "Traceback" not in err
        if code and words[0] != "test-k8s":
            tail = [line for line in err.splitlines() if line.startswith(("error:", "  try:"))]
            assert len(tail) == 2, err
        return subprocess.CompletedProcess(words, code, out, err)


def make_flavors(cluster: ApiServer) -> None:
    """The two flavors that tests of devctl use: one that fits anywhere, and one that no node has."""
    for name, cpu in (("devctl-small", "500m"), ("devctl-huge", "4000")):
        resources = {"requests": {"cpu": cpu, "memory": "512Mi"}, "limits": {"cpu": cpu, "memory": "2Gi"}}
        spec = {"description": f"the {name} one", "resources": resources, "pricePerHour": 0.25}
        cluster.admin.apply({"apiVersion": API, "kind": "DevServerFlavor", "metadata": {"name": name}, "spec": spec})


def server(admin: Client, namespace: str, name: str = "mydev") -> dict[str, Any]:
    return dict(admin.get(API, "DevServer", name, namespace))


def claim(admin: Client, namespace: str, name: str, annotations: dict[str, str] | None = None) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": name, "namespace": namespace, "annotations": annotations or {}}
    admin.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})


def write_status(admin: Client, namespace: str, name: str = "mydev", **status: Any) -> None:
    generation = server(admin, namespace, name)["metadata"]["generation"]
    patch = {"status": {"observedGeneration": generation, **status}}
    admin.patch(API, "DevServer", name, patch, namespace, subresource="status")


def condition(status: str, reason: str, message: str) -> dict[str, str]:
    return {
        "type": "Ready", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip
