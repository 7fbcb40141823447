"""Runs the bastion's broker against an API server, with the shipped identity and its rights alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bastion.paths import Paths
from devservers_core.names import BASTION_NAMESPACE
from tests.support.bastion.bastion import REPOSITORY
from tests.support.cluster.harness import ApiServer
from tests.support.wait import eventually

PACKAGES = ":".join(map(str, (REPOSITORY, REPOSITORY / "core", REPOSITORY / "cli")))
ACCOUNT = "bastion"


@contextmanager
def running_broker(api: ApiServer, paths: Paths, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The broker's process; it knows the accounts in the folders of `paths`, and listens there."""
    kubeconfig = api.kubeconfig_for(*api.service_account(BASTION_NAMESPACE, ACCOUNT))
    environment = {"PATH": "/usr/bin:/bin", "BASTION_ROOT": str(paths.root), "PYTHONPATH": PACKAGES}
    with log.open("ab") as output:
        running = subprocess.Popen(
            [sys.executable, "-m", "bastion.broker", "--kubeconfig", str(kubeconfig)], env=environment, stderr=output
        )
    try:
        eventually(paths.broker_socket.exists, "the broker's socket", report=log.read_text)
        yield running
    finally:
        running.terminate()
        running.wait(10)
