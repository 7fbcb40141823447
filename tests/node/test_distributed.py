"""Distributed servers on a real node: Kueue admits them whole, replicas reach each other, pods come back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node import queueing
from tests.support.node.person import Person, Platform
from tests.support.node.wait import eventually

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def gpus(platform: Platform) -> Iterator[Platform]:
    """The platform with four pretended GPUs, and a size of one."""
    platform.run("up", "--no-demo", "--fake-gpus", "4")
    queueing.apply(platform, queueing.gpu_flavor("gpu-one", 1))
    yield platform
    platform.run("up", "--no-demo", "--fake-gpus", "0")


@pytest.fixture(scope="module")
def train(gpus: Platform, ann: Person) -> Iterator[str]:
    """A distributed server of three replicas, with homes."""
    ann.devctl(
        "create", "train", "gpu-one", "--distributed", "--replicas", "3", "--backend", "gloo", "--home-size", "1Gi",
        "--wait", "5m",
    )  # fmt: skip
    yield "train"
    ann.devctl("delete", "train", "--yes", "--purge")
    await_no_pods(gpus, ann, "train")
    claims = gpus.get("pvc", "-n", ann.namespace)["items"]
    assert not [claim for claim in claims if claim["metadata"]["name"].startswith("home-train-")]


def replicas(ann: Person, name: str) -> list[dict[str, Any]]:
    selector = f"devservers.io/name={name}"
    return list(ann.platform.get("pods", "-n", ann.namespace, "-l", selector)["items"])


def await_no_pods(gpus: Platform, ann: Person, name: str) -> None:
    eventually(lambda: not replicas(ann, name), f"the pods of {name} to be gone", 120)


def await_ready(ann: Person, name: str, ready: str, seconds: float = 180.0) -> None:
    eventually(
        lambda: ann.server(name).get("status", {}).get("ready") == ready,
        f"{name} to have {ready} replicas ready",
        seconds,
        report=lambda: f"{ann.server(name).get('status')}\n{queueing.state(ann.platform, ann.namespace)}",
    )


def test_replicas_are_shown_and_reached_each_by_its_number(ann: Person, train: str) -> None:
    line = next(line for line in ann.devctl("list").stdout.splitlines() if line.startswith(train))
    assert "3/3" in line
    assert ann.devctl("ssh", train, "hostname").stdout.strip() == "train-0"
    assert ann.devctl("ssh", train, "--replica", "2", "hostname").stdout.strip() == "train-2"
    assert ann.devctl("exec", train, "--replica", "1", "--", "hostname").stdout.strip() == "train-1"
    everywhere = ann.devctl("exec", train, "--all", "--", "hostname").stdout.splitlines()
    assert sorted(everywhere) == ["[0] train-0", "[1] train-1", "[2] train-2"]
    assert ann.devctl("ssh", train, "--replica", "3", "true", check=False).returncode == 3


def test_replicas_log_in_to_each_other_without_a_question(ann: Person, train: str) -> None:
    for command in ("ssh train-1 hostname", "ssh -o BatchMode=yes train-2 ssh train-1 hostname"):
        done = ann.devctl("ssh", train, command)
        assert done.stdout.strip() == "train-1", done.stderr
    done = ann.devctl("ssh", train, "/opt/devservers/pytorch/on-all-replicas sh -c 'echo $RANK of $WORLD_SIZE'")
    assert sorted(done.stdout.splitlines()) == ["[0] 0 of 3", "[1] 1 of 3", "[2] 2 of 3"]
    done = ann.devctl(
        "ssh", train, "getent hosts train-2 && python3 -c 'import os; print(os.environ[\"MASTER_ADDR\"])'"
    )
    assert "train-0.train-replicas.dev-ann.svc.cluster.local" in done.stdout


def test_ports_are_open_between_replicas_and_closed_to_the_persons_other_servers(ann: Person, train: str) -> None:
    listen = "python3 -m http.server 41000 --bind 0.0.0.0 > /dev/null 2>&1 & sleep 60"
    ann.devctl("ssh", train, "--replica", "1", f"nohup sh -c '{listen}' > /dev/null 2>&1 &")
    address = next(pod["status"]["podIP"] for pod in replicas(ann, train) if pod["metadata"]["name"] == "train-1")
    connect = f"python3 -c \"import socket; socket.create_connection(('{address}', 41000), 3); print('open')\""
    eventually(
        lambda: ann.devctl("ssh", train, connect, check=False).stdout.strip() == "open", "replica 0 to reach it", 30
    )
    ann.devctl("create", "stranger", "--ephemeral", "--wait", "3m")
    try:
        assert ann.devctl("exec", "stranger", "--", "sh", "-c", connect, check=False).returncode != 0
    finally:
        ann.devctl("delete", "stranger", "--yes")


def test_deleted_replica_returns_under_its_name_with_its_home(ann: Person, train: str) -> None:
    ann.devctl("ssh", train, "--replica", "1", "echo precious > work")
    before = next(pod["metadata"]["uid"] for pod in replicas(ann, train) if pod["metadata"]["name"] == "train-1")
    ann.platform.cluster.kubectl("delete", "pod", "train-1", "-n", ann.namespace, "--wait=false")
    eventually(
        lambda: (
            {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in replicas(ann, train)}.get("train-1")
            not in (None, before)
        ),
        "another pod of the same name",
        180,
    )
    await_ready(ann, train, "3/3")
    assert ann.devctl("ssh", train, "--replica", "1", "cat work").stdout == "precious\n"
    assert "train-1: its pod was deleted" in ann.devctl("describe", train).stdout


def test_two_servers_that_want_three_of_four_gpus_are_never_admitted_in_part(
    gpus: Platform, ann: Person, train: str
) -> None:
    ann.devctl("create", "second", "gpu-one", "--distributed", "--replicas", "3", "--ephemeral")
    try:
        eventually(lambda: len(replicas(ann, "second")) == 3, "the pods of the second", 60)
        eventually(
            lambda: "Waits for quota" in ann.devctl("describe", "second").stdout,
            "the second to wait",
            60,
            report=lambda: f"{ann.server('second')}\n{queueing.state(gpus, ann.namespace)}",
        )
        assert not [pod for pod in replicas(ann, "second") if pod["spec"].get("nodeName")]
        assert len([pod for pod in replicas(ann, train) if pod["spec"].get("nodeName")]) == 3
        assert "needs 3 GPUs, 1 of 4 are free" in ann.devctl("describe", "second").stdout
        ann.devctl("stop", train)
        await_no_pods(gpus, ann, train)
        await_ready(ann, "second", "3/3")
        ann.devctl("start", train)
        eventually(lambda: len(replicas(ann, train)) == 3, "the pods of the first", 120)
        assert not [pod for pod in replicas(ann, train) if pod["spec"].get("nodeName")]
    finally:
        ann.devctl("delete", "second", "--yes")
    await_ready(ann, train, "3/3", 240)
    assert ann.devctl("ssh", train, "--replica", "1", "cat work").stdout == "precious\n"


def test_change_of_replicas_starts_the_server_anew_and_keeps_homes(ann: Person, train: str) -> None:
    patch = '{"spec":{"distributed":{"replicas":2}}}'
    ann.platform.cluster.kubectl("patch", "devserver", train, "-n", ann.namespace, "--type=merge", "-p", patch)
    await_ready(ann, train, "2/2", 300)
    assert sorted(pod["metadata"]["name"] for pod in replicas(ann, train)) == ["train-0", "train-1"]
    assert ann.devctl("ssh", train, "--replica", "1", "cat work").stdout == "precious\n"
