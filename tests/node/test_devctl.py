"""devctl in people's own shells: a shared SSH connection, loops and pipes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.node.person import Person
from tests.support.node.wait import eventually


@pytest.fixture
def namesake(ann: Person, devserver: str) -> Iterator[str]:
    """A second person with a server of the same name, opened by the same key."""
    public = ann.platform.get("devserveruser", ann.name)["spec"]["sshPublicKeys"][0]
    ann.devctl("user", "add", "namesake", "--key", public)
    try:
        ann.devctl("create", devserver, "--user", "namesake", "--ephemeral", "--wait", "3m")
        yield "namesake"
    finally:
        ann.devctl("delete", devserver, "--user", "namesake", "--yes", check=False)
        ann.devctl("user", "delete", "namesake", "--yes")


@pytest.mark.timeout(420)
def test_shared_ssh_connection_with_two_servers_reaches_the_named_server(
    ann: Person, devserver: str, namesake: str
) -> None:
    """ControlMaster makes a socket's name of the host's: two servers of one name have to differ in it."""
    # A Unix socket's name is short, and pytest's folders are not.
    folder = Path(tempfile.mkdtemp(prefix="mux", dir="/tmp"))
    asked = "echo $DEVSERVERS_USER"
    people = ("ann", namesake)
    try:
        for number, pattern in enumerate(("%C", "%r@%h:%p")):
            sockets = folder / str(number)
            sockets.mkdir()
            shared = f"Host *\n  ControlMaster auto\n  ControlPath {sockets}/{pattern}\n  ControlPersist 120\n"
            (folder / "config").write_text(shared)
            for _ in range(2):  # the second round goes through the connections of the first
                for name in people:
                    done = ann.devctl("ssh", "--user", name, devserver, "-F", str(folder / "config"), asked)
                    assert done.stdout == f"{name}\n", pattern
            for name in people:
                entries = ann.devctl("ssh-config", "--user", name).stdout
                (folder / "entries").write_text(entries + shared)
                done = ann.command("ssh", "-F", str(folder / "entries"), f"{devserver}.devserver", asked)
                assert done.stdout == f"{name}\n", pattern
            assert len(list(sockets.iterdir())) == len(people), "one connection a server, and they are shared"
    finally:
        for socket in folder.glob("*/*"):
            subprocess.run(["ssh", "-S", str(socket), "-O", "exit", "x"], capture_output=True, check=False)
        shutil.rmtree(folder)


def test_logs_on_a_terminal_drop_control_sequences_but_keep_colors(ann: Person, devserver: str) -> None:
    ann.devctl(
        "exec", devserver, "--", "sh", "-c", r"printf '\033]0;PWNED\007shown \033[31mred\033[0m\n' > /proc/1/fd/1"
    )
    command = f"devctl logs {devserver}"
    eventually(lambda: "shown" in ann.command("sh", "-c", command).stdout, "the line in the log", 30)
    piped = ann.command("sh", "-c", command).stdout
    assert "\x1b]0;PWNED\x07" in piped, "a pipe gets every byte"
    on_a_terminal = "import pty, sys; pty.spawn(sys.argv[1:])"
    seen = ann.command(sys.executable, "-c", on_a_terminal, "devctl", "logs", devserver).stdout
    assert "shown \x1b[31mred" in seen
    assert "\x1b]" not in seen
    assert "PWNED" not in seen


def test_exec_without_the_stdin_flag_leaves_standard_input_unread(ann: Person, devserver: str) -> None:
    loop = f"printf 'a\\nb\\nc\\n' | while read n; do devctl exec {devserver} -- echo $n; done"
    assert ann.command("sh", "-c", loop).stdout == "a\nb\nc\n"
    assert ann.devctl("exec", devserver, "--", "cat", text="not read").stdout == ""
    assert ann.devctl("exec", "-i", devserver, "--", "cat", text="read\n").stdout == "read\n"
