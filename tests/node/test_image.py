"""The default image's programs, and the eviction of a server that fills the disk."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from tests.support.node import queueing
from tests.support.node.person import Person
from tests.support.node.wait import eventually

PROGRAMS = (
    "uv --version", "vim --version", "zsh --version", "tmux -V", "git lfs version", "less --version", "man -w bash",
    "curl --version", "rsync --version", "htop --version", "jq --version", "gcc --version", "python --version",
    "rg --version", "file /bin/sh", "unzip -v", "zstd --version", "git --version", "wget --version", "strace --version",
)  # fmt: skip
TERMINALS = ("xterm-256color", "xterm-kitty", "alacritty", "xterm-ghostty", "tmux-256color")
ON_PATH = 'case ":$PATH:" in *":$HOME/.local/bin:"*) ;; *) exit 1 ;; esac'
WHEEL = """
import zipfile
with zipfile.ZipFile("/tmp/mine-1-py3-none-any.whl", "w") as wheel:
    wheel.writestr("mine.py", "print('mine')\\n")
    wheel.writestr("mine-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: mine\\nVersion: 1\\n")
    wheel.writestr("mine-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr("mine-1.dist-info/RECORD", "")
"""
CHECKS = {
    **{program: program for program in PROGRAMS},
    **{terminal: f"TERM={terminal} tput clear" for terminal in TERMINALS},
    "~/.local/bin in a command": ON_PATH,
    "~/.local/bin in a login shell": f"bash -lc {shlex.quote(ON_PATH)}",
    "completion": "bash -c '. /usr/share/bash-completion/bash_completion && _comp_load git 2>/dev/null || test -e "
    "/usr/share/bash-completion/completions/git'",
    "pip in a venv": f"python -c {shlex.quote(WHEEL)} && python -m venv /tmp/venv && "
    "/tmp/venv/bin/pip install --no-index /tmp/mine-1-py3-none-any.whl && /tmp/venv/bin/python -m mine",
    "pip in a venv of uv": "uv venv --offline /tmp/uv-venv && VIRTUAL_ENV=/tmp/uv-venv uv pip install --offline "
    "/tmp/mine-1-py3-none-any.whl && /tmp/uv-venv/bin/python -m mine",
    "pip outside of one says where to": "pip install mine 2>&1 | grep -q 'uv venv ~/venv'",
    "no sudo": "! command -v sudo",
    "everything can be read": "! find /usr /opt -xdev ! -readable -not -path '*/ssl/private' | grep .",
    "/tmp is a volume": 'test -w /tmp && test "$(stat -c %d /tmp)" != "$(stat -c %d /)"',
}


def test_default_image_has_the_expected_programs(ann: Person, devserver: str) -> None:
    script = "".join(
        f"( {check} ) >/tmp/said 2>&1 </dev/null || {{ echo {shlex.quote(name)}; tail -3 /tmp/said; }}\n"
        for name, check in CHECKS.items()
    )
    assert ann.devctl("ssh", devserver, "bash -s", text=script).stdout == ""


@pytest.fixture
def small_disk(ann: Person) -> str:
    """A flavor whose servers may write 100 MiB."""
    amounts = {"cpu": "50m", "memory": "64Mi", "ephemeral-storage": "10Mi"}
    limits = {"cpu": queueing.CPU_LIMIT, "memory": "512Mi", "ephemeral-storage": "100Mi"}
    manifest: dict[str, Any] = {
        "apiVersion": "devservers.io/v1",
        "kind": "DevServerFlavor",
        "metadata": {"name": "small-disk"},
        "spec": {"resources": {"requests": amounts, "limits": limits}, "shmSize": "64Mi"},
    }
    queueing.apply(ann.platform, manifest)
    return "small-disk"


@pytest.mark.timeout(300)
def test_server_over_its_disk_limit_is_evicted_and_its_neighbour_keeps_running(
    ann: Person, devserver: str, small_disk: str
) -> None:
    neighbour = ann.server(devserver)["status"]["podName"]
    ann.devctl("create", "filler", small_disk, "--ephemeral", "--wait", "3m")
    try:
        first = ann.server("filler")["status"]["podName"]
        # Into the image's own file system, where the kubelet looks every ten seconds; volumes it measures each minute.
        ann.ssh("filler", "dd if=/dev/zero of=/var/tmp/large bs=1M count=150", check=False)

        def ended() -> Any:
            pod = ann.platform.get("pods", "-n", ann.namespace, "-l", "devservers.io/name=filler")["items"]
            return next((p["status"] for p in pod if p["metadata"]["name"] == first and "reason" in p["status"]), None)

        status = eventually(ended, "the kubelet to end the server that wrote too much", 120)
        assert isinstance(status, dict)
        assert status["reason"] == "Evicted"
        assert "ephemeral" in status["message"]

        ann.await_output("ephemeral", "describe", "filler", seconds=30)
        assert ann.server(devserver)["status"]["podName"] == neighbour
    finally:
        ann.devctl("delete", "filler", "--yes")
