"""In through the bastion with an SSH key and nothing else, on the pods that `make up` starts."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from infra.bastion import NODE_PORT
from tests.node.person import Person, Platform

Wait = Callable[..., object]
NAMESPACE = "devservers-bastion"


class Laptop:
    """A machine with an SSH key and the system's own client: no kubeconfig, no devctl, no agent."""

    def __init__(self, folder: Path, platform: Platform, name: str) -> None:
        self.folder, self.platform, self.name = folder, platform, name
        self.key = folder / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        self.known = folder / "known_hosts"
        self.trust()

    @property
    def public(self) -> str:
        return self.key.with_suffix(".pub").read_text().strip()

    def trust(self) -> None:
        """The one line that an administrator sends, and no other."""
        info = self.platform.get("configmap", "bastion-info", "-n", NAMESPACE)["data"]["host_ca.pub"].strip()
        hosts = f"[127.0.0.1]:{NODE_PORT},*.dev-{self.name}.svc.cluster.local"
        self.known.write_text(f"@cert-authority {hosts} {info}\n")

    def options(self) -> list[str]:
        said = {
            "IdentityFile": str(self.key),
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self.known),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": "10",
        }
        return ["-F", "none", *(word for key, value in said.items() for word in ("-o", f"{key}={value}"))]

    def ssh(self, *words: str, name: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """`ssh ... NAME@127.0.0.1 WORDS`; its host key is never asked about."""
        target = f"{name or self.name}@127.0.0.1"
        return self.run("ssh", *self.options(), "-p", str(NODE_PORT), target, *words, check=check)

    def run(self, *argv: str, check: bool = True, text: str = "") -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        done = subprocess.run(
            argv, env=env, input=text, capture_output=True, text=True, timeout=120, check=False, cwd=self.folder
        )
        assert not check or done.returncode == 0, f"{argv} gave {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    def config(self, server: str) -> Path:
        """An ssh_config as `devctl ssh-config` has it: the server by ProxyJump."""
        words = self.options()[2:]
        lines = [word.replace("=", " ", 1) for word in words if word != "-o"]
        host = f"{server}.dev-{self.name}.svc.cluster.local"
        file = self.folder / "config"
        file.write_text(
            "\n".join(
                [
                    *("Host door", "HostName 127.0.0.1", f"Port {NODE_PORT}", f"User {self.name}", *lines),
                    *(f"Host {server}", f"HostName {host}", "User dev", "ProxyJump door", *lines),
                ]
            )
            + "\n"
        )
        return file

    @contextmanager
    def session(self) -> Iterator[subprocess.Popen[str]]:
        """An open prompt with a terminal."""
        command = ["ssh", *self.options(), "-tt", "-p", str(NODE_PORT), f"{self.name}@127.0.0.1"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        ) as process:
            try:
                yield process
            finally:
                process.kill()


def add(platform: Platform, laptop: Laptop, **spec: Any) -> None:
    """What an administrator does for a new person."""
    made = {
        "apiVersion": "devservers.io/v1",
        "kind": "DevServerUser",
        "metadata": {"name": laptop.name},
        "spec": {"username": laptop.name, "sshPublicKeys": [laptop.public], **spec},
    }
    platform.cluster.kubectl("apply", "-f", "-", text=json.dumps(made))


@pytest.fixture(scope="module")
def laptop(platform: Platform, ann: Person, tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """Ann's other machine, whose key is one of hers from now on."""
    laptop = Laptop(tmp_path_factory.mktemp("laptop"), platform, ann.name)
    keys = [*platform.get("devserveruser", ann.name)["spec"]["sshPublicKeys"], laptop.public]
    patch = json.dumps({"spec": {"sshPublicKeys": keys}})
    platform.cluster.kubectl("patch", "devserveruser", ann.name, "--type=merge", "-p", patch)
    _until(lambda: laptop.ssh("devctl", "version", check=False).returncode == 0, "the new key to open the door", 10)
    return laptop


@pytest.fixture(scope="module")
def bob(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """Somebody else, added as an administrator adds them."""
    laptop = Laptop(tmp_path_factory.mktemp("bob"), platform, "bob")
    add(platform, laptop)
    _until(lambda: laptop.ssh("devctl", "list", check=False).returncode == 0, "bob's first login", 60)
    yield laptop
    platform.cluster.kubectl("delete", "devserveruser", "bob", "--wait=false")


def _until(probe: Callable[[], object], what: str, seconds: float) -> float:
    """How long it took; fails with what was waited for."""
    began = time.monotonic()
    while not probe():
        assert time.monotonic() - began < seconds, f"waited {seconds:g} s for {what}"
        time.sleep(0.2)
    return time.monotonic() - began


def pods(platform: Platform) -> list[str]:
    """Names of pods that take sessions."""
    found = platform.get("pods", "-n", NAMESPACE)["items"]
    return [
        each["metadata"]["name"]
        for each in found
        if "deletionTimestamp" not in each["metadata"]
        and any(c["type"] == "Ready" and c["status"] == "True" for c in each["status"].get("conditions", []))
    ]


def test_a_key_is_all_that_a_login_takes(laptop: Laptop, devserver: str) -> None:
    assert devserver in laptop.ssh("devctl", "list").stdout


def test_no_other_key_and_no_other_name(laptop: Laptop, tmp_path: Path) -> None:
    stranger = Laptop(tmp_path, laptop.platform, "ann")
    for name in ("ann", "root", "nobody-there"):
        done = stranger.ssh("devctl", "list", name=name, check=False)
        assert done.returncode == 255 and "Permission denied" in done.stderr


def test_from_the_bastion_to_a_server_without_an_agent(laptop: Laptop, devserver: str) -> None:
    done = laptop.ssh("devctl", "ssh", devserver, "--", "id -un; hostname; exit 7", check=False)
    assert (done.returncode, done.stdout.split()) == (7, ["dev", devserver])


def test_scp_and_sftp_through_the_bastion_and_nobody_is_asked_about_a_host_key(
    laptop: Laptop, devserver: str, eventually: Wait
) -> None:
    """Only the CA's line is known; the server shows its certificate."""
    before = laptop.known.read_text()
    config = str(laptop.config(devserver))
    # The laptop's key reaches the server within the kubelet's sync time (ruling 20).
    probe = ("ssh", "-F", config, devserver, "true")
    eventually(lambda: laptop.run(*probe, check=False).returncode == 0, "the key inside the server", 100)
    data = os.urandom(3_000_000)
    (laptop.folder / "up").write_bytes(data)
    laptop.run("scp", "-F", config, "up", f"{devserver}:up")
    laptop.run("scp", "-F", config, f"{devserver}:up", "down")
    assert (laptop.folder / "down").read_bytes() == data
    laptop.run("sftp", "-F", config, "-b", "-", devserver, text="get up again\nrm up\n")
    assert (laptop.folder / "again").read_bytes() == data
    assert laptop.known.read_text() == before


def test_to_nobody_else_s_server(laptop: Laptop, bob: Laptop, devserver: str) -> None:
    host = f"{devserver}.dev-ann.svc.cluster.local"
    command = ("ssh", *bob.options(), "-p", str(NODE_PORT), "-W", f"{host}:22", "bob@127.0.0.1")
    done = bob.run(*command, check=False)
    assert done.returncode != 0 and "administratively prohibited" in done.stderr


def test_no_token_is_within_reach_of_a_session(platform: Platform, laptop: Laptop) -> None:
    pod = pods(platform)[0]
    inside = ("exec", "-n", NAMESPACE, pod, "-c", "sshd", "--", "sh", "-c")
    look = "find / -xdev -name token 2>/dev/null; ls /var/run/secrets /run/secrets 2>/dev/null; env | grep -i token"
    assert platform.cluster.kubectl(*inside, f"{look}; true").strip() == ""
    capabilities = platform.cluster.kubectl(*inside, "grep CapBnd /proc/1/status").split()[1]
    assert int(capabilities, 16) == sum(1 << bit for bit in (0, 6, 7, 18, 29))
    # The broker answers people's uids and nobody else's: root is none of them.
    ask = (
        "import socket; s=socket.socket(socket.AF_UNIX); s.connect('/run/bastion/sockets/broker.sock');"
        's.sendall(b\'{"want": "token"}\\n\'); print(s.makefile().readline())'
    )
    answer = platform.cluster.kubectl("exec", "-n", NAMESPACE, pod, "-c", "sshd", "--", "python", "-c", ask)
    assert "error" in json.loads(answer) and "token" not in json.loads(answer)


def test_one_person_s_token_is_nothing_in_another_s_namespace(laptop: Laptop, bob: Laptop) -> None:
    # By its whole name: `devservers` alone is also the category of all our kinds, the cluster's own among them.
    bob.ssh("kubectl", "get", "devservers.devservers.io")
    for words in (("get", "pods", "-n", "dev-ann"), ("get", "secrets"), ("get", "nodes")):
        done = bob.ssh("kubectl", *words, check=False)
        assert done.returncode != 0 and "Forbidden" in done.stderr


def test_a_suspended_person_is_out_within_ten_seconds(platform: Platform, bob: Laptop) -> None:
    with bob.session() as session:
        _read(session, "devctl>", 20)
        platform.cluster.kubectl("patch", "devserveruser", "bob", "--type=merge", "-p", '{"spec":{"suspended":true}}')
        assert _until(lambda: session.poll() is not None, "the session's end", 10) <= 10
    assert bob.ssh("devctl", "list", check=False).returncode == 255
    platform.cluster.kubectl("patch", "devserveruser", "bob", "--type=merge", "-p", '{"spec":{"suspended":false}}')
    _until(lambda: bob.ssh("devctl", "version", check=False).returncode == 0, "bob to be back", 10)


def test_a_killed_replica_takes_its_own_sessions_and_the_next_try_succeeds(
    platform: Platform, laptop: Laptop, eventually: Wait
) -> None:
    eventually(lambda: len(pods(platform)) == 2, "two replicas", 60)
    platform.cluster.kubectl("delete", "pod", "-n", NAMESPACE, pods(platform)[0], "--grace-period=0", "--force")
    assert "devctl" in laptop.ssh("devctl", "version").stdout
    eventually(lambda: len(pods(platform)) == 2, "two replicas again", 60)


def test_a_rolling_restart_leaves_an_open_session_alone(platform: Platform, laptop: Laptop, eventually: Wait) -> None:
    eventually(lambda: len(pods(platform)) == 2, "two replicas", 60)
    before = set(pods(platform))
    with laptop.session() as session:
        assert session.stdin is not None
        _read(session, "devctl>", 20)
        platform.cluster.kubectl("rollout", "restart", "deployment/bastion", "-n", NAMESPACE)
        eventually(lambda: len(pods(platform)) == 2 and not before & set(pods(platform)), "two new replicas", 90)
        session.stdin.write("version\r")
        _read(session, "devctl 0", 20)
        session.stdin.write("exit\r")
        assert session.wait(20) == 0


def _read(session: subprocess.Popen[str], what: str, seconds: float) -> str:
    """What is shown until `what` is; the reading itself ends with the session."""
    assert session.stdout is not None
    seen, deadline = "", time.monotonic() + seconds
    while what not in seen:
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what!r}; seen: {seen!r}"
        assert session.poll() is None, f"it ended; seen: {seen!r}"
        if select.select([session.stdout.fileno()], [], [], 0.2)[0]:
            seen += os.read(session.stdout.fileno(), 65536).decode(errors="replace")
    return seen
