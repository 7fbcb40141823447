"""SSH into a server with the system's own client, as editors and scripts use it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.node.person import BIN, Person, Platform
from tests.support.node.wait import eventually

HOST = "shared.devserver"
"""The host entry of `devctl ssh-config` for the server of fixture ``devserver``."""


def _ssh(ann: Person, config: Path, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return ann.command("ssh", "-F", str(config), *arguments, **options)  # type: ignore[arg-type]


def test_ssh_command_runs_as_the_dev_user_in_the_home(ann: Person, devserver: str) -> None:
    uid = ann.platform.get("devserveruser", "ann")["status"]["uid"]
    shown = ann.ssh(devserver, "id -u; id -un; pwd; echo $HOME; hostname").stdout.split()
    assert shown == [str(uid), "dev", "/home/dev", "/home/dev", devserver]


def test_ssh_command_passes_exit_code_and_both_streams(ann: Person, devserver: str) -> None:
    done = ann.ssh(devserver, "echo out; echo err >&2; exit 7", check=False)
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert "err\n" in done.stderr


def test_stock_ssh_client_with_the_printed_configuration_connects(ann: Person, ssh_config: Path) -> None:
    assert _ssh(ann, ssh_config, HOST, "echo hello").stdout == "hello\n"
    assert "StrictHostKeyChecking no" not in ssh_config.read_text()


def test_server_processes_all_run_as_the_users_uid(ann: Person, devserver: str) -> None:
    users = ann.ssh(devserver, "cat /proc/[0-9]*/status | grep ^Uid: | sort -u").stdout.splitlines()
    uid = str(ann.platform.get("devserveruser", "ann")["status"]["uid"])
    assert users
    assert all(line.split()[1:] == [uid] * 4 for line in users)
    assert ann.ssh(devserver, "grep CapEff /proc/self/status").stdout.split()[1] == "0" * 16


def test_sftp_and_scp_copy_a_file_both_ways(ann: Person, ssh_config: Path, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "up").write_bytes(data)
    ann.command("scp", "-F", str(ssh_config), str(tmp_path / "up"), f"{HOST}:up")
    ann.command("scp", "-F", str(ssh_config), f"{HOST}:up", str(tmp_path / "down"))
    assert (tmp_path / "down").read_bytes() == data
    batch = f"get up {tmp_path / 'again'}\nrm up\n"
    ann.command("sftp", "-F", str(ssh_config), "-b", "-", HOST, text=batch)
    assert (tmp_path / "again").read_bytes() == data


def test_ssh_local_forward_reaches_a_port_of_the_server(ssh_config: Path, platform: Platform) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = "cd /tmp && echo forwarded > page && exec python3 -m http.server 8123 --bind 127.0.0.1"
    env = platform.env | {"PATH": f"{BIN}:{platform.env['PATH']}"}
    command = ["ssh", "-F", str(ssh_config), "-tt", "-L", f"127.0.0.1:{port}:127.0.0.1:8123", HOST, serve]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as session:

        def page() -> bool:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/page", timeout=5) as got,
            ):
                return bool(got.read() == b"forwarded\n")
            return False

        try:
            eventually(page, "the page through the forwarded port", 30)
        finally:
            session.terminate()


def test_ssh_agent_forwarding_lists_the_key(ann: Person, ssh_config: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "mine", "-f", str(key)], check=True)
    socket_path = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket_path)], stdout=subprocess.DEVNULL)
    try:
        eventually(socket_path.exists, "the agent's socket", 10)
        env = {"SSH_AUTH_SOCK": str(socket_path)}
        subprocess.run(["ssh-add", "-q", str(key)], env=os.environ | env, check=True)
        forwarded = Person(replace(ann.platform, env=ann.platform.env | env), "ann")
        shown = _ssh(forwarded, ssh_config, "-A", HOST, "ssh-add -l").stdout
        assert "mine (ED25519)" in shown
    finally:
        agent.terminate()
        agent.wait()


def test_exec_and_shell_pass_the_exit_code(ann: Person, devserver: str) -> None:
    done = ann.devctl("exec", devserver, "--", "sh", "-c", "echo out; echo err >&2; exit 5", check=False)
    assert (done.returncode, done.stdout) == (5, "out\n")
    assert "err" in done.stderr
    assert ann.devctl("shell", devserver, "--", "cd / && pwd && exit 6", check=False).returncode == 6


def test_ssh_with_a_wrong_host_key_is_refused(ann: Person, ssh_config: Path, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    other = (tmp_path / "other.pub").read_text().split()[:2]
    assert _ssh(ann, ssh_config, HOST, "true").returncode == 0
    settings = dict(
        line.split(None, 1) for line in ann.command("ssh", "-F", str(ssh_config), "-G", HOST).stdout.splitlines()
    )
    assert Path(settings["userknownhostsfile"]).read_text().split()[0] == settings["hostkeyalias"]
    pretended = tmp_path / "known"
    pretended.write_text(f"{settings['hostkeyalias']} {' '.join(other)}\n")
    done = _ssh(ann, ssh_config, "-o", f"UserKnownHostsFile={pretended}", HOST, "true", check=False)
    assert done.returncode == 255
    assert "HOST IDENTIFICATION HAS CHANGED" in done.stderr


@pytest.mark.timeout(300)
def test_changed_keys_reach_a_running_server_without_a_restart(ann: Person, devserver: str) -> None:
    """Within the kubelet's sync time: 5 to 8 s here, and what the machine is late."""
    platform = ann.platform
    home = Path(platform.env["HOME"])
    key = home / "second"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    before = platform.get("devserveruser", "ann")["spec"]["sshPublicKeys"]
    pod = ann.server(devserver)["status"]["podName"]
    other = Person(replace(platform, env=platform.env | {"DEVCTL_IDENTITY_FILE": str(key)}), "ann")

    def set_keys(keys: list[str]) -> None:
        listed = ",".join(f'"{each}"' for each in keys)
        platform.cluster.kubectl(
            "patch", "devserveruser", "ann", "--type=merge", "-p", f'{{"spec":{{"sshPublicKeys":[{listed}]}}}}'
        )

    def works() -> bool:
        return other.devctl("ssh", devserver, "true", check=False).returncode == 0

    set_keys([*before, key.with_suffix(".pub").read_text().strip()])
    eventually(works, "the new key to be accepted", 90)
    set_keys(before)
    eventually(lambda: not works(), "the removed key to be refused", 90)
    assert ann.server(devserver)["status"]["podName"] == pod
