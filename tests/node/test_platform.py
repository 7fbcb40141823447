"""Lifecycle of the platform itself: up again, killed processes, destroy and down.

They come last because they end what the other tests use; each leaves the platform up, with its servers as it got them.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devcluster import ROOT
from devcluster.cluster import PROGRAMS, Cluster
from devcluster.node import process
from devcluster.node.machine_setup import link_name
from devcluster.progress import Progress
from devservers_core.names import INTERACTIVE, PRIORITY_INTERACTIVE
from devservers_core.paths import Paths
from tests.support.node import queueing
from tests.support.node.machine import Machine
from tests.support.node.person import BIN, Person, Platform, environment
from tests.support.node.wait import eventually

pytestmark = [pytest.mark.last, pytest.mark.timeout(900)]

OURS = ("devservers", "dev-")
"""How the names of the platform's own cluster-wide objects begin."""
ITS = ("devserver", "kueue")
"""What is in the names of others, of Kueue's for one."""
CLUSTERS_OWN = ("devservers:",)
"""Rights of the embedded cluster's own components (DNS, firewall), which are there without the platform too."""


def _objects(platform: Platform, *kinds: str) -> dict[str, tuple[str, str]]:
    """kind/namespace/name of all objects of some kinds, with uid and generation."""
    found = {}
    for item in platform.get(",".join(kinds), "-A")["items"]:
        metadata = item["metadata"]
        key = f"{item['kind']}/{metadata.get('namespace', '')}/{metadata['name']}"
        found[key] = (metadata["uid"], str(metadata.get("generation", "")))
    return found


SETTLED = ("crd", "deployment", "clusterrole", "devserver", "devserveruser", "devserverflavor", "pvc", "namespace")


def test_first_up_prints_commands_that_work(platform: Platform, ann: Person) -> None:
    shown = platform.first_up
    assert "over SSH: dev on first" in shown
    *_, ssh, create, bastion, overview = [line.strip() for line in shown.splitlines() if line.strip()]
    assert ann.command(*bastion.split()).stdout.split("\n")[0].startswith("NAME")
    for line in (ssh, create, overview):
        program, *words = line.split()
        assert (ROOT / program).resolve() == (BIN / "devctl").resolve()
        if words[0] == "create":
            words.append("--dry-run")
        if words[0] == "ssh":
            words.append("true")
        assert ann.devctl(*words).returncode == 0


def test_second_up_changes_nothing_within_20_seconds(platform: Platform, devserver: str) -> None:
    before = _objects(platform, *SETTLED)
    begin = time.monotonic()
    shown = platform.run("up").stdout
    seconds = time.monotonic() - begin
    assert "unchanged" in shown
    assert not [word for word in (" created", " updated", " deleted", " replaced") if word in shown], shown
    assert _objects(platform, *SETTLED) == before
    assert seconds < 20


def test_up_with_another_clusters_devctl_configuration_leaves_it_unchanged(platform: Platform, tmp_path: Path) -> None:
    config = tmp_path / "devctl" / "config.yaml"
    config.parent.mkdir()
    config.write_text("user: eve\ncontext: company\nkubeconfig: /nonexistent\n")
    elsewhere = replace(platform, env=platform.env | {"XDG_CONFIG_HOME": str(tmp_path), "DEVCTL_USER": "mallory"})
    shown = elsewhere.run("up").stderr
    assert "is about something else" in shown
    commands = [line.strip() for line in shown.splitlines() if line.strip().startswith(".venv/bin/devctl")]
    flags = f"--user ann --kubeconfig {platform.cluster.kubeconfig} --context devservers"
    assert commands[0] == f".venv/bin/devctl ssh {flags} first"
    assert config.read_text().startswith("user: eve")


def test_preview_after_up_shows_no_changes(platform: Platform) -> None:
    shown = platform.run("preview").stdout
    assert "unchanged" in shown
    assert not [word for word in ("to create", "to update", "to delete", "to replace") if word in shown], shown


@pytest.mark.parametrize(
    "name", [*PROGRAMS, "containerd-shim", "sshd", "devservers-operator", "manager", "the first process"]
)
def test_up_after_kill_9_restores_servers_and_objects(
    platform: Platform, ann: Person, devserver: str, name: str
) -> None:
    _running(ann, devserver)
    ann.ssh(devserver, "echo precious > work; sync")
    before = _objects(platform, *SETTLED)
    cluster = platform.cluster
    if name == "the first process":
        first = cluster.pid()
        assert first is not None
        os.kill(first, signal.SIGKILL)
        eventually(lambda: cluster.pid() is None, "the node to be gone", 20)
    else:
        running = cluster.processes()
        victims = [pid for pid, comm in running.items() if _is(pid, comm, name)]
        assert victims, f"no {name} among {sorted(set(running.values()))}"
        os.kill(victims[0], signal.SIGKILL)

    platform.run("up", "--no-demo")

    def answers() -> bool:
        return ann.ssh(devserver, "cat work", check=False).stdout == "precious\n"

    eventually(answers, f"the server to answer with its file after {name} was killed", 120)
    after = _objects(platform, *SETTLED)
    assert {key: uid for key, (uid, _) in after.items()} == {key: uid for key, (uid, _) in before.items()}


def _is(pid: int, comm: str, name: str) -> bool:
    """Whether a process is the program of that name; the operator is a Python module's, and manager is Kueue's."""
    if name == "devservers-operator":
        return comm == "python" and "devservers.runtime.main" in Path(f"/proc/{pid}/cmdline").read_text()
    return comm == name[:15]  # what the kernel keeps of it


def test_destroy_with_a_foreign_pod_in_a_queue_is_refused_and_stops_no_server(
    platform: Platform, ann: Person, devserver: str
) -> None:
    """An administrator's own pod: what ends is servers only, and nobody's ends for a destroy that is refused."""
    _running(ann, devserver)
    before = ann.server(devserver)
    queueing.apply(platform, *queueing.local_queues(ann.namespace), _pod(platform, "byhand", ann))
    try:
        done = platform.run("destroy", check=False)
        assert done.returncode == 1
        assert f"Pod {ann.namespace}/byhand" in done.stderr
        assert "no server was ended" in done.stderr
        assert platform.get("clusterqueue", "interactive")
        assert platform.get("devserveruser", "ann")
        after = ann.server(devserver)
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert "deletionTimestamp" not in after["metadata"]
        assert after["status"]["podName"] == before["status"]["podName"]
    finally:
        platform.cluster.kubectl("delete", "pod", "byhand", "-n", ann.namespace)


def _running(ann: Person, name: str) -> None:
    """The server runs, whatever a test before this one did with it."""
    if f"devserver/{name}" in ann.devctl("list", "-o", "name").stdout.split():
        ann.devctl("start", name, "--wait", "3m")
    else:
        ann.devctl("create", name, "--wait", "3m")


def _pod(platform: Platform, name: str, ann: Person, gpus: int = 0) -> dict[str, Any]:
    image = queueing.default_image(platform)
    return queueing.pod(name, ann.namespace, image, gpus, INTERACTIVE, PRIORITY_INTERACTIVE)


def test_destroy_keeps_only_homes_and_up_reattaches_them(platform: Platform, ann: Person, devserver: str) -> None:
    uid = platform.get("devserveruser", "ann")["status"]["uid"]
    # One pod that runs and one that waits for what there is none of: both are a server's, and go with it.
    _running(ann, devserver)
    ann.ssh(devserver, "echo precious > work; sync")
    server = ann.server(devserver)
    owner = {
        "apiVersion": server["apiVersion"],
        "kind": "DevServer",
        "name": devserver,
        "uid": server["metadata"]["uid"],
    }
    pods = [_pod(platform, "runs", ann), _pod(platform, "waits", ann, gpus=1)]
    for pod in pods:
        pod["metadata"]["ownerReferences"] = [owner]
    queueing.apply(platform, *queueing.local_queues(ann.namespace), *pods)
    platform.cluster.kubectl("wait", "pod", "runs", "-n", ann.namespace, "--for=condition=Ready", "--timeout=60s")
    shown = platform.run("destroy").stderr
    assert "left: namespace dev-ann" in shown
    assert f"{devserver}-home" in shown
    left = _cluster_wide(platform)
    assert left == ["Namespace dev-ann"]
    kinds = platform.cluster.kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
    items = platform.get(",".join(kinds), "-n", "dev-ann")["items"]
    names = sorted(f"{item['kind']} {item['metadata']['name']}" for item in items if not _made_by_kubernetes(item))
    homes = sorted(item["metadata"]["name"] for item in items if item["kind"] == "PersistentVolumeClaim")
    assert f"{devserver}-home" in homes
    # A home keeps its host key, so that a server made on it again is the same one to SSH.
    expected = [f"PersistentVolumeClaim {home}" for home in homes]
    expected += [f"Secret {home.removesuffix('-home')}-host-key" for home in homes]
    assert names == sorted(expected)

    platform.run("up")  # with its first server, which was ended with the others
    assert platform.get("devserveruser", "ann")["status"]["uid"] == uid
    ann.devctl("create", devserver, "--wait", "3m")
    assert ann.ssh(devserver, "cat work; stat -c %u work").stdout.split() == ["precious", str(uid)]


def _cluster_wide(platform: Platform) -> list[str]:
    """Cluster-wide objects and namespaces of the platform, by name; those of the cluster itself left out."""
    kinds = platform.cluster.kubectl("api-resources", "--namespaced=false", "--verbs=list", "-o", "name").split()
    items = platform.get(",".join(kinds))["items"]
    names = [(item["kind"], item["metadata"]["name"]) for item in items]
    return sorted(
        f"{kind} {name}"
        for kind, name in names
        if kind not in ("PersistentVolume", "Node", "CSINode")
        and (name.startswith(OURS) or any(each in name for each in ITS))
        and not name.startswith(CLUSTERS_OWN)
    )


def _made_by_kubernetes(item: dict[str, Any]) -> bool:
    """What every namespace has by itself, and Events, which end by themselves."""
    names = {"ServiceAccount": "default", "ConfigMap": "kube-root-ca.crt"}
    return bool(item["kind"] == "Event" or names.get(item["kind"]) == item["metadata"]["name"])


def test_down_leaves_nothing_on_the_machine_and_up_restores_the_server(
    platform: Platform, ann: Person, devserver: str
) -> None:
    _running(ann, devserver)
    ann.ssh(devserver, "echo precious > work; sync")
    cluster = platform.cluster
    began = [found for pid in cluster.processes() if (found := process.read(pid))]
    assert len(began) > len(PROGRAMS)

    platform.run("down")
    now = {(each.pid, each.started) for each in process.everything()}
    assert [each for each in began if (each.pid, each.started) in now] == []
    assert Machine.now().added_to(platform.before, link_name(cluster.folder)) == {}

    platform.run("up", "--no-demo")
    eventually(
        lambda: ann.ssh(devserver, "cat work", check=False).stdout == "precious\n", "the server with its file", 120
    )


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Platform]:
    """A cluster of its own without the platform, for what deletes one."""
    env = environment(tmp_path)
    cluster, before = Cluster(Paths.of(env).node), Machine.now()
    try:
        cluster.up(Progress())
        yield Platform(env, cluster, before)
    finally:
        cluster.down(Progress())


def test_down_with_purge_names_the_homes_asks_and_deletes(bare: Platform) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "box-home", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    bare.cluster.kubectl("apply", "-f", "-", text=json.dumps(claim))
    asked = bare.run("down", "--purge", text="n\n", check=False)
    assert asked.returncode == 1
    assert "default/box-home" in asked.stderr
    assert bare.cluster.pid() is not None
    bare.run("down", "--purge", text="y\n")
    assert not bare.cluster.folder.exists()
    assert Machine.now().added_to(bare.before, link_name(bare.cluster.folder)) == {}
