"""`devctl run` in a real server: what it sends, prints and ends with, and what a lost connection changes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.node.laptop import Laptop, add_key, await_success
from tests.support.node.person import BIN, Person, Platform
from tests.support.node.wait import eventually

LINES = 100_000


@pytest.fixture(scope="module")
def server(ann: Person) -> Iterator[str]:
    """A server with a home, for the runs of this module."""
    ann.devctl("create", "runner", "--wait", "3m")
    yield "runner"
    ann.devctl("delete", "runner", "--yes", "--purge")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hello.py").write_text(
        "import os, pathlib, sys\n"
        "print('hello from', os.environ['DEVSERVERS_RUN'], sys.argv[1:])\n"
        "print('to stderr', file=sys.stderr)\n"
        "pathlib.Path('results').mkdir()\n"
        "pathlib.Path('results/answer').write_text('42')\n"
        "sys.exit(3)\n"
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "large").write_text("x" * 100_000)
    (tmp_path / ".gitignore").write_text("large\n")
    return tmp_path


@contextmanager
def started(person: Person, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A devctl that goes on while the test does something."""
    env = person.platform.env | {"PATH": f"{BIN}:{person.platform.env['PATH']}"}
    command = [str(BIN / "devctl"), *arguments]
    with subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def connections(devctl: int) -> list[int]:
    """The ssh processes that a devctl has started."""
    children = Path(f"/proc/{devctl}/task/{devctl}/children").read_text().split()
    return [int(child) for child in children if Path(f"/proc/{child}/comm").read_text() == "ssh\n"]


def runs(person: Person, server: str) -> dict[str, dict[str, object]]:
    return {run["name"]: run for run in json.loads(person.devctl("runs", server, "-o", "json").stdout)}


def test_run_of_a_script_prints_ranks_passes_its_exit_code_on_and_keeps_its_results(
    ann: Person, server: str, folder: Path
) -> None:
    words = ("run", server, "--dir", str(folder), "--no-torchrun", "--name")
    done = ann.devctl(*words, "hello", "hello.py", "--lr", "1", check=False)
    assert (done.returncode, done.stdout) == (3, "[0] hello from hello ['--lr', '1']\n[0] to stderr\n"), done.stderr
    assert "sent 2 of 2 files" in done.stderr
    assert "run hello failed with exit code 3" in done.stderr
    assert ann.ssh(server, "cd runs/hello && find . -type f | sort").stdout.split() == [
        *("./.gitignore", "./hello.py", "./results/answer"),
    ]
    ann.devctl("fetch", server, "hello", "results", str(folder))
    assert (folder / "results" / "answer").read_text() == "42"
    assert runs(ann, server)["hello"]["exitCode"] == 3

    (folder / "data" / "small").write_text("new")
    again = ann.devctl(*words, "again", "--", "cat", "data/small", "results/answer")
    assert again.stdout == "[0] new42"
    assert "sent 2 of 4 files" in again.stderr, "what did not change is not sent again"


def test_run_whose_connection_is_cut_five_times_loses_no_line(ann: Person, server: str, folder: Path) -> None:
    script = f"for i in $(seq 1 {LINES}); do echo line $i; [ $((i % 1000)) -ne 0 ] || sleep 0.1; done; exit 4"
    with started(ann, "run", server, "--dir", str(folder), "--name", "lines", "--", "bash", "-c", script) as devctl:
        assert devctl.stdout is not None
        lines, cuts = [], 0
        for line in devctl.stdout:
            lines.append(line)
            if cuts < 5 and len(lines) > 15_000 * (cuts + 1):
                cuts += 1
                for ssh in connections(devctl.pid):
                    os.kill(ssh, signal.SIGKILL)
        assert devctl.wait(60) == 4
        assert devctl.stderr is not None
        messages = devctl.stderr.read()
    assert cuts == 5
    assert messages.count("the connection was cut") == 5
    assert lines == [f"[0] line {number}\n" for number in range(1, LINES + 1)]


def test_run_goes_on_when_the_laptop_is_gone(ann: Person, server: str, folder: Path) -> None:
    script = "echo up; while [ ! -e go ]; do sleep 0.1; done; echo after; exit 5"
    with started(ann, "run", server, "--dir", str(folder), "--name", "alone", "--", "sh", "-c", script) as devctl:
        assert devctl.stdout is not None
        assert devctl.stdout.readline() == "[0] up\n"
        (ssh,) = connections(devctl.pid)
        devctl.kill()
        os.kill(ssh, signal.SIGKILL)
    assert runs(ann, server)["alone"]["state"] == "running"
    ann.ssh(server, "touch runs/alone/go")
    done = ann.devctl("attach", f"{server}/alone", check=False)
    assert (done.returncode, done.stdout) == (5, "[0] up\n[0] after\n")
    assert (runs(ann, server)["alone"]["state"], runs(ann, server)["alone"]["exitCode"]) == ("ended", 5)


def test_interrupt_asks_the_run_to_end_and_a_second_one_kills_it(ann: Person, server: str, folder: Path) -> None:
    script = "trap 'echo asked' INT; echo up; while :; do sleep 0.1; done"
    with started(ann, "run", server, "--dir", str(folder), "--name", "deaf", "--", "sh", "-c", script) as devctl:
        assert devctl.stdout is not None
        assert devctl.stdout.readline() == "[0] up\n"
        devctl.send_signal(signal.SIGINT)
        assert devctl.stdout.readline() == "[0] asked\n"
        devctl.send_signal(signal.SIGINT)
        assert devctl.wait(30) == 137
    assert runs(ann, server)["deaf"]["canceled"] is True


def test_detached_run_is_followed_by_logs_and_canceled(ann: Person, server: str, folder: Path) -> None:
    words = ("run", server, "--dir", str(folder), "--detach", "--name", "quiet", "--")
    assert ann.devctl(*words, "sh", "-c", "trap 'exit 6' INT; echo up; while :; do sleep 0.1; done").stdout == "quiet\n"
    eventually(lambda: ann.devctl("logs", server, "quiet").stdout == "[0] up\n", "its first line", 20)
    second = ann.devctl(*words, "true", check=False)
    assert second.returncode == 1
    assert second.stderr == "error: there is a run quiet already\n  try: give this one another name\n"
    ann.devctl("cancel", server, "quiet")
    assert ann.devctl("attach", server, "quiet", check=False).returncode == 6


def test_run_without_torchrun_or_with_an_unwritable_home_is_refused_before_anything_is_sent(
    ann: Person, server: str, folder: Path
) -> None:
    refused = ann.devctl("run", server, "--dir", str(folder), "--name", "torch", "hello.py", check=False)
    assert refused.returncode == 1
    assert "has no torchrun" in refused.stderr
    assert "--no-torchrun" in refused.stderr
    ann.ssh(server, "mkdir -p .devservers/runs && chmod 500 .devservers/runs")
    try:
        refused = ann.devctl("run", server, "--dir", str(folder), "--name", "closed", "--", "true", check=False)
    finally:
        ann.ssh(server, "chmod 700 .devservers/runs")
    assert refused.returncode == 1
    assert "the home can't be written" in refused.stderr
    assert not {"torch", "closed"} & runs(ann, server).keys()
    assert ann.ssh(server, "ls runs | grep -c -e torch -e closed || true").stdout == "0\n"


def test_run_over_the_bastion_sends_and_follows(
    ann: Person, platform: Platform, server: str, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    laptop = Laptop(tmp_path_factory.mktemp("runs"), platform, ann.name)
    add_key(platform, laptop)
    probe = ("ssh", "-F", str(laptop.config(server)), server, "true")
    await_success(lambda: laptop.run(*probe, check=False), "a login to the server with the new key", 100)
    authority = platform.get("configmap", "bastion-info", "-n", "devservers-bastion")["data"]["host_ca.pub"].strip()
    env = {
        "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(laptop.folder), "DEVCTL_USER": ann.name,
        "DEVCTL_BASTION": f"127.0.0.1:{platform.ssh_port}", "DEVCTL_HOST_AUTHORITY": authority,
        "DEVCTL_IDENTITY_FILE": str(laptop.key),
    }  # fmt: skip

    def devctl(*words: str) -> subprocess.CompletedProcess[str]:
        set_variables = [f"{name}={value}" for name, value in env.items()]
        return laptop.run("env", "-i", *set_variables, "devctl", *words, check=False)

    done = devctl("run", server, "--dir", str(folder), "--name", "far", "--no-torchrun", "hello.py")
    assert (done.returncode, done.stdout) == (3, "[0] hello from far []\n[0] to stderr\n"), done.stderr
    assert "far" in devctl("runs", server).stdout
    assert devctl("logs", server, "far", "--rank", "0").stdout.startswith("[0] hello from far")
    assert devctl("attach", server, "far").returncode == 3
    devctl("fetch", server, "far", "results/answer", str(laptop.folder / "answer"))
    assert (laptop.folder / "answer").read_text() == "42"


def test_stopped_server_refuses_runs_and_lists_them_when_it_is_started(ann: Person, server: str, folder: Path) -> None:
    ann.devctl("run", server, "--dir", str(folder), "--detach", "--name", "cutoff", "--", "sleep", "600")
    time.sleep(1)
    ann.devctl("stop", server)
    ann.await_server(server, lambda each: each["status"]["phase"] == "Stopped", "the server to stop", 150)
    refused = ann.devctl("run", server, "--dir", str(folder), "--", "true", check=False)
    assert refused.returncode == 255
    assert f"{server} is stopped" in refused.stderr
    kept = runs(ann, server)
    assert (kept["cutoff"]["state"], kept["deaf"]["exitCode"]) == ("lost", 137)
    ann.devctl("start", server, "--wait", "3m")
    after = runs(ann, server)
    assert after["cutoff"]["state"] == "lost"
    assert after["hello"]["exitCode"] == 3
    lost = ann.devctl("attach", server, "cutoff", check=False)
    assert lost.returncode == 1
    assert "run cutoff was lost" in lost.stderr
