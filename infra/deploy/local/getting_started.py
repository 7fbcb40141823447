"""The last step of `make up`: devctl's configuration, a first server, and the next commands.

Invariant: devctl's configuration is written only where there is none, and nothing here goes by what an existing one
says: it may be about another cluster.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from devcluster.progress import Progress
from devservers_core.names import namespace_of
from devservers_core.paths import Paths
from infra import ROOT
from infra.errors import InfraError

FIRST = "first"
"""The name of the server that `make up` ends with."""
DEVCTL = Path(sys.executable).parent / "devctl"
_FLAGS = ("user", "kubeconfig", "context")


@dataclass(frozen=True)
class BastionEndpoint:
    """The bastion's address, HOST:PORT, and the public key of the CA that signs its host key."""

    address: str
    authority: str


@dataclass(frozen=True)
class GettingStarted:
    """Sets devctl up for one person; ``settings`` are by the keys of devctl's configuration."""

    paths: Paths
    env: Mapping[str, str]
    progress: Progress

    def configure(self, settings: Mapping[str, str]) -> None:
        """Write devctl's configuration when there is none."""
        if self.paths.config.exists():
            return
        self.paths.config.parent.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(dict(settings))
        self.paths.config.write_text("# Written by `make up`; yours to change.\n" + text)
        self.progress.say(f"devctl's configuration: {self.paths.config}")

    def first_server(self, settings: Mapping[str, str], endpoint: BastionEndpoint | None = None) -> None:
        """Create a server when the person has none, show that it answers over SSH, and name next commands.

        ``endpoint`` is the bastion, where the stack has one.
        Raises InfraError when devctl fails.
        """
        flags = [word for key in _FLAGS if key in settings for word in (f"--{key}", settings[key])]
        env = {name: value for name, value in self.env.items() if not name.startswith("DEVCTL_")}
        env["DEVCTL_NAMESPACE"] = namespace_of(settings["user"])
        if "identityFile" in settings:
            env["DEVCTL_IDENTITY_FILE"] = settings["identityFile"]

        def devctl(command: str, *arguments: str, capture: bool = False) -> str:
            argv = [str(DEVCTL), command, *flags, *arguments]
            done = subprocess.run(argv, env=env, text=True, stdout=subprocess.PIPE if capture else None, check=False)
            if done.returncode:
                raise InfraError(
                    f"devctl {command} failed, see above", "the platform itself is up: run the command again"
                )
            return (done.stdout or "").strip()

        servers = devctl("list", "-o", "name", capture=True).split()
        name = FIRST if not servers or f"devserver/{FIRST}" in servers else servers[0].removeprefix("devserver/")
        if not servers:
            with self.progress.step("starting a first server", prints=True):
                devctl("create", FIRST, "--wait")
                answer = devctl("ssh", FIRST, "echo $(whoami) on $(hostname), $(nproc) cores", capture=True)
            self.progress.say(f"\nover SSH: {answer}")
        extra = ""
        if not self._configured_for(settings):
            self.progress.say(f"\ndevctl's configuration ({self.paths.config}, DEVCTL_*) is about something else")
            extra = " " + shlex.join(flags)
        program = os.path.relpath(DEVCTL, ROOT)
        commands = [f"{program} ssh{extra} {name}", f"{program} create{extra} mydev cpu-medium --wait"]
        if login := self._bastion(settings, endpoint):
            commands.append(login)
        self.progress.say("\n  ".join(["\nnext:", *commands, f"{program} --help"]))

    def _bastion(self, settings: Mapping[str, str], endpoint: BastionEndpoint | None) -> str | None:
        """How to come in by SSH alone, when the bastion takes this person in; None when it doesn't."""
        if endpoint is None:
            return None
        host, _, port = endpoint.address.rpartition(":")
        known_hosts = self.paths.state / "bastion_known_hosts"
        known_hosts.write_text(f"@cert-authority [{host}]:{port} {endpoint.authority.strip()}\n")
        ssh = ["ssh", *(["-i", settings["identityFile"]] if "identityFile" in settings else [])]
        ssh += ["-o", f"UserKnownHostsFile={known_hosts}", "-p", port, f"{settings['user']}@{host}"]
        trial = ["-q", "-oBatchMode=yes", "-oStrictHostKeyChecking=yes", "-oConnectTimeout=5"]
        command = [ssh[0], *trial, *ssh[1:], "devctl", "version"]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=15, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return f"{shlex.join(ssh)} devctl list" if done.returncode == 0 else None

    def _configured_for(self, settings: Mapping[str, str]) -> bool:
        """Whether devctl without any flag reaches this platform: its file names it, and no variable names another."""
        try:
            written = yaml.safe_load(self.paths.config.read_text())
        except (OSError, yaml.YAMLError):
            return False
        keys = (*_FLAGS, "namespace")
        same = isinstance(written, dict) and all(written.get(key) == settings.get(key) for key in keys)
        return same and not any(name.startswith("DEVCTL_") for name in self.env)
