"""Environment and commands of a server whose image has odd profile files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.node.images import loaded
from tests.support.node.person import Person
from tests.support.node.screen import terminal

IMAGE_PATH = "/opt/conda/bin:/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""As images/profile sets it; its /etc/profile sets another one."""
PEM = "-----BEGIN\nline2 'quoted' \\ \"x\"\n-----END"
TYPED = {"TOKEN": "pa$$word", "REF": "$(USER)-x", "GREETING": 'say "hi" \\ there', "PEM": PEM, "EMPTY": ""}
OF_A_PROCESS = {"PWD", "OLDPWD", "SHLVL", "_", "TERM"}
LINE = "conda > /tmp/conda-{0}; env -0 > /tmp/{0}.part; mv /tmp/{0}.part /tmp/{0}"
"""Into files: the image's shells print a line of their own."""


@pytest.fixture(scope="module")
def odd(ann: Person) -> Iterator[str]:
    """A server with an image's own PATH, odd variables, and a command that prints and ends."""
    platform = ann.platform

    def team(value: list[dict[str, str]]) -> None:
        patch = json.dumps({"spec": {"env": value}})
        platform.cluster.kubectl("patch", "devserveruser", ann.name, "--type=merge", "-p", patch)

    variables = [word for key, value in TYPED.items() for word in ("--env", f"{key}={value}")]
    command = ["sh", "-c", "echo pid is $$; echo '$(USER) and $$'; echo warned >&2; exit 3"]
    team([{"name": "TEAM", "value": "a$$b$(HOME)"}])
    try:
        image = loaded(platform, "profile")
        ann.devctl("create", "odd", "--image", image, "--ephemeral", *variables, "--wait", "3m", "--", *command)
        yield "odd"
    finally:
        team([])
        ann.devctl("delete", "odd", "--yes", check=False)


def on_every_way(ann: Person, server: str, line: str) -> list[str]:
    """Run `line` on the five ways into a server; {0} in it is the way's number. The numbers."""
    ann.devctl("exec", server, "--", "sh", "-c", line.format(0))
    ann.ssh(server, line.format(1))
    ann.devctl("shell", server, "--", line.format(2))
    for number, way in ((3, "ssh"), (4, "shell")):
        with terminal(ann, way, server) as screen:
            screen.expect("$ ")
            screen.type(f"{line.format(number)}; exit 7\n")
            assert screen.process.wait(60) == 7, screen.seen
    return [str(number) for number in range(5)]


def test_environment_is_the_same_over_ssh_exec_and_shell(ann: Person, odd: str) -> None:
    seen: dict[str, dict[str, str]] = {}
    for way in on_every_way(ann, odd, LINE):
        shown = ann.devctl("exec", odd, "--", "cat", f"/tmp/{way}").stdout
        seen[way] = dict(each.split("=", 1) for each in shown.split("\0") if each)
        assert ann.devctl("exec", odd, "--", "cat", f"/tmp/conda-{way}").stdout == "conda ran\n"
    wanted = {name: value for name, value in seen["0"].items() if name not in OF_A_PROCESS}
    assert wanted["PATH"] == IMAGE_PATH
    assert {
        **TYPED,
        "TEAM": "a$$b$(HOME)",
        "CUDA_HOME": "/usr/local/cuda",
        "HOME": "/home/dev",
    }.items() <= wanted.items()
    for way, variables in seen.items():
        assert {name: variables.get(name) for name in wanted} == wanted, way
    assert {variables.get("SHELL") for way, variables in seen.items() if way != "0"} == {"/bin/bash"}


def test_new_home_gets_the_readable_files_of_the_images_skel(ann: Person, odd: str) -> None:
    """One file of root's among them must not keep the others away."""
    wanted = {".bashrc", ".profile", ".bash_logout", *(f".for-all-{number}" for number in range(1, 9))}
    found = set(ann.devctl("exec", odd, "--", "ls", "-A", "/home/dev").stdout.split())
    assert wanted <= found, found
    assert not {each for each in found if each.startswith("of-root")}, found
    assert "echo hello" in ann.devctl("exec", odd, "--", "cat", "/home/dev/.bashrc").stdout
    assert "/etc/skel" not in ann.devctl("logs", odd, "--ssh").stdout


def test_command_of_a_server_runs_as_typed_and_its_output_is_the_log(ann: Person, odd: str) -> None:
    ann.ssh(odd, "true")
    ann.await_output("exit code 3", "describe", odd, seconds=20)
    done = ann.devctl("logs", odd)
    # What it wrote to its standard error is its output too: Kubernetes keeps both in one log.
    assert re.fullmatch(r"(pid is \d+\n|\$\(USER\) and \$\$\n|warned\n){3}", done.stdout), done.stdout
    assert "exit code 3" in done.stderr
    assert "Accepted publickey for dev" in ann.devctl("logs", odd, "--ssh").stdout
    assert len(ann.devctl("logs", odd, "--ssh", "--tail", "2").stdout.splitlines()) == 2


def test_scp_and_sftp_with_a_shell_that_prints_copy_intact(ann: Person, odd: str, tmp_path: Path) -> None:
    config, host = tmp_path / "config", f"{odd}.devserver"
    config.write_text(ann.devctl("ssh-config").stdout)
    (tmp_path / "sent").write_bytes(os.urandom(300_000))
    ann.command("scp", "-F", str(config), str(tmp_path / "sent"), f"{host}:sent")
    ann.command("sftp", "-F", str(config), "-b", "-", host, text=f"get sent {tmp_path / 'back'}\n")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "sent").read_bytes()
