"""Two embedded clusters on one machine, isolated from each other."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster.cluster import Cluster
from devcluster.node.machine_setup import SYS, link_name
from devcluster.progress import Progress
from infra.settings.platform.bastion import NODE_PORT
from tests.support.node.machine import Machine
from tests.support.node.person import Platform
from tests.support.node.wait import eventually


@pytest.fixture
def second(platform: Platform, tmp_path: Path) -> Iterator[Cluster]:
    """A second cluster, bare, while the first goes on."""
    cluster = Cluster(tmp_path / "node")
    before = Machine.now()
    try:
        cluster.up(Progress())
        yield cluster
    finally:
        cluster.down(Progress())
        assert Machine.now().added_to(before) == {}


def answering(port: int) -> str:
    """The first line of what listens at a port of loopback, and "" when nobody does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return connection.recv(64).decode(errors="replace").strip()
    except OSError:
        return ""


def test_second_cluster_gets_its_own_port_and_leaves_nothing_after_down(platform: Platform, second: Cluster) -> None:
    first, mine = platform.cluster, platform.ssh_port
    running = {pid: name for pid, name in first.processes().items() if name in ("etcd", "kube-apiserver", "kubelet")}
    theirs = second.publish(NODE_PORT)
    assert theirs != mine, "its port is remembered"
    assert second.publish(NODE_PORT) == theirs, "its port is remembered"
    assert first.publish(NODE_PORT) == mine
    assert second.published() == {NODE_PORT: theirs}
    assert answering(mine).startswith("SSH-2.0-"), "the first one's bastion"
    assert answering(theirs) == "", "the second cluster has no bastion: this must not be the first one's"
    names = [cluster.kubectl("get", "namespaces", "-o", "name").split() for cluster in (first, second)]
    assert "namespace/devservers-bastion" in names[0]
    assert "namespace/devservers-bastion" not in names[1]

    # Killed, and not taken down: the first still has its port, its forwarding and its processes.
    pid = second.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: second.pid() is None, "the second cluster to be gone", 20)
    second.down(Progress())
    assert (SYS / "net/ipv4/ip_forward").read_text().strip() == "1"
    assert answering(mine).startswith("SSH-2.0-")
    assert running.items() <= first.processes().items()


def test_publish_with_a_port_in_use_picks_another(platform: Platform) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        assert platform.cluster.publish(taken) not in (taken, platform.ssh_port)
    assert answering(platform.ssh_port).startswith("SSH-2.0-"), "the bastion keeps its own"
    rules = subprocess.run(["iptables-save", "-t", "nat"], capture_output=True, text=True, check=True).stdout
    assert f"--dport {taken} " not in rules
    assert link_name(platform.cluster.folder) in rules
