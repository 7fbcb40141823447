"""The PyTorch image on the node: a GPU flavor names it, and the example trains in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster import ROOT
from devcluster.images import reference_of
from infra.catalog.images import PYTORCH
from tests.support.node.person import Person, Platform
from tests.support.node.wait import eventually

EXAMPLE = ROOT / "examples" / "digits"


@pytest.fixture(scope="module")
def torch_platform(platform: Platform) -> Iterator[Platform]:
    """The platform with the PyTorch image and pretended GPUs; without either afterwards."""
    said = platform.run("up", "--no-demo", "--pytorch", "--fake-gpus", "3").stderr
    assert reference_of(PYTORCH) in said
    yield platform
    platform.run("up", "--no-demo", "--no-pytorch", "--fake-gpus", "0")


@pytest.fixture(scope="module")
def server(torch_platform: Platform, ann: Person) -> Iterator[str]:
    """A server on the flavor of the pretended GPU, made without an image."""
    ann.devctl("create", "torch", "gpu-fake", "--home-size", "1Gi", "--wait", "4m")
    yield "torch"
    ann.devctl("delete", "torch", "--yes", "--purge")


def run(ann: Person, server: str, command: str) -> str:
    """The output of a command in the server, both streams; a failure fails the test."""
    return ann.devctl("exec", server, "--", "bash", "-lc", f"exec 2>&1; export OMP_NUM_THREADS=1; {command}").stdout


def test_server_on_a_gpu_flavor_runs_the_image_that_its_flavor_names(ann: Person, server: str) -> None:
    pods = ann.platform.get("pods", "-n", ann.namespace, "-l", f"devservers.io/name={server}")["items"]
    assert [pod["spec"]["containers"][0]["image"] for pod in pods] == [reference_of(PYTORCH)]
    assert "PyTorch" in run(ann, server, "python3 -c 'import torch; print(\"PyTorch\", torch.__version__)'")


def test_example_trains_on_two_ranks_and_goes_on_from_its_checkpoint(ann: Person, server: str) -> None:
    ann.devctl("cp", "-r", str(EXAMPLE), f"{server}:")
    train = "cd digits && torchrun --standalone --nproc-per-node 2 train.py"
    first = run(ann, server, f"{train} --epochs 12")
    assert "devservers: step=15 epoch=0 " in first
    assert "test images are right, after 180 steps on 2 ranks" in first
    second = run(ann, server, f"{train} --epochs 14")
    assert "epoch=11" not in second
    assert "epoch=13" in second


def test_devctl_run_shows_the_rank_before_each_line_and_names_the_one_that_failed(
    ann: Person, server: str, tmp_path: Path
) -> None:
    (tmp_path / "fails.py").write_text(
        "import os, time\n"
        "print('rank', os.environ['RANK'])\n"
        "if os.environ['RANK'] == '1':\n"
        "    raise SystemExit(7)\n"
        "time.sleep(90)\n"
    )
    options = ("--dir", str(tmp_path), "--nproc-per-node", "2", "--name", "fails")
    done = ann.devctl("run", server, *options, "fails.py", check=False)
    assert done.returncode == 7, done.stdout + done.stderr
    assert {"[0] rank 0", "[1] rank 1"} <= set(done.stdout.splitlines())
    assert "rank 1 failed first, with exit code 7" in done.stdout + done.stderr
    assert run(ann, server, "ls ~/.devservers/runs/fails").split() == ["output.log", "run.json"]


def test_killed_run_leaves_no_rank_on_the_gpu(ann: Person, server: str, tmp_path: Path) -> None:
    (tmp_path / "stays.py").write_text(
        "import signal, time\n"
        "for each in (signal.SIGINT, signal.SIGTERM):\n"
        "    signal.signal(each, signal.SIG_IGN)\n"
        "print('stays', flush=True)\n"
        "time.sleep(600)\n"
    )
    options = ("--dir", str(tmp_path), "--nproc-per-node", "2", "--name", "stays", "--detach")
    ann.devctl("run", server, *options, "stays.py")
    eventually(lambda: ann.devctl("logs", server, "stays").stdout.count("stays") == 2, "both ranks are there")
    ann.devctl("cancel", server, "stays", "--kill")
    eventually(lambda: "stays.py" not in run(ann, server, "ps -ef | grep [s]tays.py || true"), "no rank is left")
    assert ann.devctl("run", server, "--dir", str(tmp_path), "--", "echo", "free").stdout.strip() == "[0] free"


def test_ranks_meet_at_a_given_address_as_those_of_several_servers_do(ann: Person, server: str) -> None:
    static = "--nnodes 1 --node-rank 0 --master-addr 127.0.0.1 --master-port 29500 --nproc-per-node 2"
    assert "on 2 ranks" in run(ann, server, f"cd digits && torchrun {static} train.py --epochs 12 --out /tmp/other.pt")


def test_replicas_of_a_distributed_server_train_together(ann: Person, server: str) -> None:
    """The gradients are averaged over gloo between two pods, which only each other reach."""
    del server  # its image is there
    ann.devctl("create", "ring", "gpu-fake", "--distributed", "--replicas", "2", "--home-size", "1Gi", "--wait", "4m")
    ann.devctl("cp", "-r", str(EXAMPLE), "ring:")
    run(ann, "ring", "ssh ring-1 mkdir digits && scp -q digits/train.py ring-1:digits/")
    train = "cd digits && /opt/devservers/pytorch/on-all-replicas torchrun train.py --epochs 12"
    assert "test images are right, after 180 steps on 2 ranks" in run(ann, "ring", train)
    refused = ann.devctl("run", "ring", "--dir", str(EXAMPLE), "train.py", check=False)
    assert "this server has 2 replicas, and a run is of one" in refused.stdout + refused.stderr
    ann.devctl("delete", "ring", "--yes", "--purge")


def test_py_spy_shows_the_stack_of_a_process_of_ones_own(ann: Person, server: str) -> None:
    shown = run(ann, server, "python3 -c 'import time; time.sleep(60)' & sleep 1; py-spy dump --pid $!; kill $!")
    assert "<module> (<string>:1)" in shown


def test_readme_of_the_example_names_what_it_prints() -> None:
    text = Path(EXAMPLE / "README.md").read_text()
    assert "devservers: step=" in text
    assert "torchrun --standalone --nproc-per-node 2 train.py" in text
