"""`make install-crds` and `make run` against a context of a kubeconfig."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import yaml

from devcluster import ROOT
from devservers_core.client import kubeconfig
from tests.support.cluster.harness import ADMIN, ApiServer
from tests.support.cluster.operator_process import KEY
from tests.support.wait import eventually

KINDS = ("devservers", "devserverflavors", "devserverusers")


def contexts(server: ApiServer, folder: Path) -> Path:
    """A kubeconfig whose current context leads nowhere, and whose context `test` is the API server."""
    document = yaml.safe_load(server.kubeconfig_for(*ADMIN).read_text())
    document["clusters"].append({"name": "nowhere", "cluster": {"server": "https://127.0.0.1:9"}})
    user = document["contexts"][0]["context"]["user"]
    document["contexts"].append({"name": "nowhere", "context": {"cluster": "nowhere", "user": user}})
    return kubeconfig.write(folder / "kubeconfig", document | {"current-context": "nowhere"})


def test_make_run_with_a_context_installs_the_crds_and_reconciles_until_interrupted(
    cluster: ApiServer, tmp_path: Path, user_name: str
) -> None:
    environment = os.environ | {"KUBECONFIG": str(contexts(cluster, tmp_path))}
    environment |= {"DEVSERVERS_METRICS_PORT": "0", "DEVSERVERS_HEALTH_PORT": "0"}
    log = tmp_path / "log"
    with log.open("wb") as output:
        running = subprocess.Popen(
            ["make", "run", "CONTEXT=test"],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        report = log.read_text

        def leads() -> bool:
            assert running.poll() is None, report()
            return "all objects reconciled" in report()

        eventually(leads, "the operator to lead", 60)
        for kind in KINDS:
            crd = cluster.admin.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"{kind}.devservers.io")
            assert crd["spec"]["group"] == "devservers.io"
        person = {
            "apiVersion": "devservers.io/v1",
            "kind": "DevServerUser",
            "metadata": {"name": user_name},
            "spec": {"username": user_name, "sshPublicKeys": [KEY]},
        }
        cluster.admin.create(person)
        eventually(
            lambda: cluster.admin.get("devservers.io/v1", "DevServerUser", user_name).get("status", {}).get("uid"),
            "a uid for the user",
        )
    finally:
        # As Ctrl-C does: to make and to what it runs.
        os.killpg(running.pid, signal.SIGINT)
        running.wait(60)
    assert "lease released" in report()
