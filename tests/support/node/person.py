"""The platform of the node tests and its user, who works in a terminal.

Invariant: a test does what a person does in a terminal, and sees what they see.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from devcluster import ROOT
from devcluster.cluster import Cluster
from devservers_core.paths import Paths, current
from infra.settings.platform.bastion import NODE_PORT
from tests.support.node.machine import Machine
from tests.support.node.wait import eventually

BIN = Path(sys.executable).parent
_KEPT = ("DEVSERVERS_TOOLS_DIR", "SSL_CERT_FILE", "PIP_CERT", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "TMPDIR")
"""What a machine may need of its environment to fetch packages."""


def environment(folder: Path) -> dict[str, str]:
    """The environment of somebody called ann whose home and state are in `folder`; only the cache is shared."""
    (folder / "home").mkdir(exist_ok=True)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "USER": "ann",
        "LANG": "C.UTF-8",
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_CACHE_HOME": str(current().cache.parent),
        "DEVSERVERS_CONTEXT": "embedded",
    }
    return env | {name: os.environ[name] for name in _KEPT if name in os.environ}


@contextmanager
def running_platform(folder: Path, *options: str) -> Iterator[Platform]:
    """A platform of its own in `folder`, brought up as `make up` does, taken down at the end whatever happened.

    A platform that the person at this machine runs is neither used nor touched.
    """
    env = environment(folder)
    platform = Platform(env, Cluster(Paths.of(env).node), Machine.now())
    try:
        yield replace(platform, first_up=platform.run("up", *options).stderr)
    finally:
        platform.run("down", check=False)


@dataclass(frozen=True)
class Platform:
    """A platform of the tests: the environment it lives in, and its cluster.

    ``before`` is the machine before its first `up`, ``first_up`` what that printed.
    """

    env: dict[str, str]
    cluster: Cluster
    before: Machine
    first_up: str = ""

    def run(self, *arguments: str, check: bool = True, text: str = "") -> subprocess.CompletedProcess[str]:
        """`python -m infra.deploy ARGUMENTS`, which is what the Makefile runs."""
        command = [sys.executable, "-m", "infra.deploy", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.env, input=text, capture_output=True, text=True, check=False, timeout=900
        )
        assert not check or done.returncode == 0, f"{arguments} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done

    @property
    def ssh_port(self) -> int:
        """Where the bastion is on this machine's loopback: a port that no other platform has."""
        return self.cluster.published()[NODE_PORT]

    def get(self, *arguments: str) -> Any:
        """What `kubectl get ARGUMENTS -o json` prints, as the administrator."""
        return json.loads(self.cluster.kubectl("get", *arguments, "-o", "json"))


@dataclass(frozen=True)
class Person:
    """Somebody with a terminal."""

    platform: Platform
    name: str

    @property
    def namespace(self) -> str:
        """Where their servers are."""
        return f"dev-{self.name}"

    def devctl(
        self, *arguments: str, check: bool = True, text: str | None = None, seconds: float = 240
    ) -> subprocess.CompletedProcess[str]:
        """Run devctl; a failure fails the test unless ``check`` is false."""
        return self._run([str(BIN / "devctl"), *arguments], check, text, seconds)

    def command(
        self, *argv: str, check: bool = True, text: str | None = None, seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run any other program, with devctl on PATH."""
        return self._run(list(argv), check, text, seconds)

    def _run(self, argv: list[str], check: bool, text: str | None, seconds: float) -> subprocess.CompletedProcess[str]:
        env = self.platform.env | {"PATH": f"{BIN}:{self.platform.env['PATH']}"}
        done = subprocess.run(
            argv, env=env, input=text or "", capture_output=True, text=True, check=False, timeout=seconds
        )
        assert not check or done.returncode == 0, f"{argv} gave {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    def server(self, name: str) -> Any:
        """The DevServer object."""
        return self.platform.get("devserver", name, "-n", self.namespace)

    def await_server(self, name: str, check: Callable[[Any], bool], what: str, seconds: float = 60) -> None:
        """Wait until a server is as `check` wants it; a failure shows its status."""
        eventually(
            lambda: check(self.server(name)), what, seconds, report=lambda: f"status {self.server(name).get('status')}"
        )

    def await_output(self, text: str, *arguments: str, messages: bool = False, seconds: float = 60) -> None:
        """Run devctl until its output, or its `messages` on standard error, contain `text`; a failure shows both."""
        last: list[subprocess.CompletedProcess[str]] = []

        def contains() -> bool:
            last[:] = [self.devctl(*arguments)]
            return text in (last[0].stderr if messages else last[0].stdout)

        eventually(contains, f"{text!r} in `devctl {' '.join(arguments)}`", seconds, report=lambda: last)

    def ssh(self, name: str, command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """`devctl ssh NAME -- COMMAND`."""
        return self.devctl("ssh", name, "--", command, **options)
