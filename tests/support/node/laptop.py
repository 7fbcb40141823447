"""A laptop in front of the bastion: an SSH key, ssh and one line of known_hosts."""

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

from tests.support.node.person import Platform
from tests.support.node.wait import eventually

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
        hosts = f"[127.0.0.1]:{self.platform.ssh_port},*.dev-{self.name}.svc.cluster.local"
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
        return self.run("ssh", *self.options(), "-p", str(self.platform.ssh_port), target, *words, check=check)

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
                    *(
                        "Host bastion",
                        "HostName 127.0.0.1",
                        f"Port {self.platform.ssh_port}",
                        f"User {self.name}",
                        *lines,
                    ),
                    *(f"Host {server}", f"HostName {host}", "User dev", "ProxyJump bastion", *lines),
                ]
            )
            + "\n"
        )
        return file

    @contextmanager
    def session(self) -> Iterator[subprocess.Popen[str]]:
        """An open prompt with a terminal."""
        command = ["ssh", *self.options(), "-tt", "-p", str(self.platform.ssh_port), f"{self.name}@127.0.0.1"]
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


def add_key(platform: Platform, laptop: Laptop) -> None:
    """Make the laptop's key one of its user's, and wait until the bastion accepts it."""
    keys = [*platform.get("devserveruser", laptop.name)["spec"]["sshPublicKeys"], laptop.public]
    patch = json.dumps({"spec": {"sshPublicKeys": keys}})
    platform.cluster.kubectl("patch", "devserveruser", laptop.name, "--type=merge", "-p", patch)
    await_success(lambda: laptop.ssh("devctl", "version", check=False), "a login with the new key", 10)


def await_success(run: Callable[[], subprocess.CompletedProcess[str]], what: str, seconds: float) -> None:
    """Run a program until it succeeds; a failure shows what its last run printed."""
    last: list[object] = []

    def succeeds() -> bool:
        done = run()
        last[:] = [(done.returncode, done.stdout[-2000:], done.stderr[-2000:])]
        return done.returncode == 0

    eventually(succeeds, what, seconds, report=lambda: last)


def pods(platform: Platform) -> list[str]:
    """Names of pods that take sessions."""
    found = platform.get("pods", "-n", NAMESPACE)["items"]
    return [
        each["metadata"]["name"]
        for each in found
        if "deletionTimestamp" not in each["metadata"]
        and any(c["type"] == "Ready" and c["status"] == "True" for c in each["status"].get("conditions", []))
    ]


def read_until(session: subprocess.Popen[str], what: str, seconds: float) -> str:
    """What is shown until `what` is; the reading itself ends with the session."""
    assert session.stdout is not None
    seen, deadline = "", time.monotonic() + seconds
    while what not in seen:
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what!r}; seen: {seen!r}"
        assert session.poll() is None, f"it ended; seen: {seen!r}"
        if select.select([session.stdout.fileno()], [], [], 0.2)[0]:
            seen += os.read(session.stdout.fileno(), 65536).decode(errors="replace")
    return seen
