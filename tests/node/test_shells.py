"""Login shells in the default image, and SSH to an image without a shell."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.support.node.images import loaded
from tests.support.node.person import BIN, Person
from tests.support.node.screen import terminal


@pytest.fixture(scope="module")
def new_home(ann: Person) -> Iterator[str]:
    """A server with a new home."""
    ann.devctl("create", "desk", "--wait", "3m")
    yield "desk"
    ann.devctl("delete", "desk", "--yes", "--purge")


@pytest.fixture(scope="module")
def shellless(ann: Person) -> Iterator[str]:
    """A server of an image with one static program."""
    image, command = loaded(ann.platform, "noshell"), ["/app/busybox", "sleep", "1d"]
    ann.devctl("create", "bare", "--image", image, "--ephemeral", "--wait", "3m", "--", *command)
    yield "bare"
    ann.devctl("delete", "bare", "--yes")


@pytest.mark.parametrize("way", ["ssh", "shell"])
def test_login_shell_shows_host_and_folder_and_completes(ann: Person, new_home: str, way: str) -> None:
    with terminal(ann, way, new_home) as screen:
        screen.expect("dev@desk:~$ ")
        screen.type("cd /tmp; complete -p -D > /dev/null && echo com''pletes; echo shell=$SHELL,$BASH\n")
        screen.expect("completes")
        screen.expect("shell=/bin/bash,/bin/bash")
        screen.expect("dev@desk:/tmp$ ")
        screen.type("tmux -L own -f /dev/null start-server \\; show-options -g default-shell; exit\n")
        screen.expect("default-shell /bin/bash")


def test_passwd_entry_names_the_images_shell(ann: Person, new_home: str) -> None:
    fields = ann.ssh(new_home, "getent passwd dev").stdout.strip().split(":")
    uid = str(ann.platform.get("devserveruser", "ann")["status"]["uid"])
    assert fields == ["dev", "x", uid, uid, "ann", "/home/dev", "/bin/bash"]


def test_bashrc_is_read_at_every_login_and_edits_survive_a_restart(ann: Person, new_home: str) -> None:
    assert {".bashrc", ".profile"} <= set(ann.ssh(new_home, "ls -A").stdout.split())
    ann.ssh(
        new_home, "sed -i '1i export FROM_RC=1' .bashrc; echo 'export AT_END=1' >> .bashrc; rm .bash_logout; : > kept"
    )
    ann.devctl("restart", new_home, "--wait", "3m")
    assert ann.ssh(new_home, "echo rc=$FROM_RC; ls -A").stdout.split()[:1] == ["rc=1"]
    # Written once: what was changed or deleted stays so.
    assert ".bash_logout" not in ann.ssh(new_home, "ls -A").stdout.split()
    assert ann.devctl("shell", new_home, "--", "echo rc=$FROM_RC").stdout == "rc=1\n"
    for way in ("ssh", "shell"):
        with terminal(ann, way, new_home) as screen:
            screen.expect("$ ")
            screen.type('echo "rc=$FROM_RC,$AT_END."\n')
            screen.expect("rc=1,1.")


@contextmanager
def agent(folder: Path, keys: list[Path]) -> Iterator[str]:
    """An ssh-agent that holds `keys` in this order; the path of its socket."""
    path = folder / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it says where its socket is once there is one
            for key in keys:
                subprocess.run(["ssh-add", "-q", str(key)], env=os.environ | {"SSH_AUTH_SOCK": str(path)}, check=True)
            yield str(path)
        finally:
            process.terminate()


def test_ssh_with_twelve_agent_keys_accepts_the_last(ann: Person, new_home: str, tmp_path: Path) -> None:
    keys = [tmp_path / f"other{number}" for number in range(11)]
    for key in keys:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    # The same settings without the file of the key: the agent is all there is.
    given = yaml.safe_load(Path(ann.platform.env["XDG_CONFIG_HOME"], "devctl/config.yaml").read_text())
    identity = Path(given.pop("identityFile"))
    (tmp_path / "devctl").mkdir()
    (tmp_path / "devctl/config.yaml").write_text(yaml.safe_dump(given))
    with agent(tmp_path, [*keys, identity]) as path:
        env = ann.platform.env | {"SSH_AUTH_SOCK": path, "XDG_CONFIG_HOME": str(tmp_path)}
        other = Person(replace(ann.platform, env=env), ann.name)
        assert other.devctl("ssh", new_home, "echo in").stdout == "in\n"


def test_image_without_a_shell_copies_and_forwards_and_refuses_a_shell_with_a_reason(
    ann: Person, shellless: str, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text(ann.devctl("ssh-config").stdout)
    host = f"{shellless}.devserver"
    (tmp_path / "sent").write_bytes(os.urandom(300_000))
    ann.command("scp", "-F", str(config), str(tmp_path / "sent"), f"{host}:sent")
    ann.command("sftp", "-F", str(config), "-b", "-", host, text=f"get sent {tmp_path / 'back'}\n")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "sent").read_bytes()
    for way in (["ssh", shellless, "true"], ["shell", shellless], ["shell", shellless, "--", "true"]):
        done = ann.devctl(*way, check=False)
        assert done.returncode == 127, done
        (line,) = done.stderr.splitlines()
        assert "has no shell" in line
    env = ann.platform.env | {"PATH": f"{BIN}:{ann.platform.env['PATH']}"}
    # Something that listens in the server and speaks first: its own SSH.
    command = ["ssh", "-F", str(config), "-W", "127.0.0.1:2222", host]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tunnel:
        assert tunnel.stdout is not None
        assert tunnel.stdout.readline().startswith(b"SSH-2.0-")
        tunnel.terminate()
