"""Invariant: the node tests use what a person uses: `make up`'s program, devctl, and the system's own ssh.

One platform a session, with a home and a state folder of its own (only the cache of tools and images is shared),
so a platform that the person at this machine runs is neither used nor touched.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.local.cluster import Cluster
from infra.local.paths import ROOT, Paths, current
from tests.node.machine import Machine
from tests.node.person import Person, Platform


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What ends the platform comes last; everything else keeps its order."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The platform, brought up as `make up` does; taken down at the end whatever happened."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "home").mkdir()
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
    kept = ("DEVSERVERS_TOOLS_DIR", "SSL_CERT_FILE", "PIP_CERT", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "TMPDIR")
    env |= {name: os.environ[name] for name in kept if name in os.environ}
    platform = Platform(env, Cluster(Paths.of(env).node), Machine.now())
    try:
        yield replace(platform, first_up=platform.run("up").stderr)
    finally:
        subprocess.run([sys.executable, "-m", "infra.local", "down"], cwd=ROOT, env=env, check=False)


@pytest.fixture(scope="session")
def ann(platform: Platform) -> Person:
    """The person the platform was made for."""
    return Person(platform, "ann")


@pytest.fixture
def eventually() -> Callable[..., object]:
    """Wait for a condition with a deadline, and say what was seen when it passes."""

    def wait(probe: Callable[[], object], what: str, seconds: float = 60) -> object:
        deadline, seen = time.monotonic() + seconds, None
        while time.monotonic() < deadline:
            seen = probe()
            if seen:
                return seen
            time.sleep(0.2)
        raise AssertionError(f"waited {seconds:.0f} s for {what}; last seen: {seen!r}")

    return wait


@pytest.fixture(scope="session")
def devserver(ann: Person) -> Iterator[str]:
    """A running server with a home, for the tests that only use one."""
    ann.devctl("create", "shared", "--wait", "3m")
    yield "shared"
    if ann.platform.cluster.pid() is not None:  # the last tests take the cluster away
        ann.devctl("delete", "shared", "--yes", "--purge")


@pytest.fixture(scope="session")
def ssh_config(ann: Person, devserver: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `devctl ssh-config` prints once there is a server, as a file for `ssh -F`."""
    file = tmp_path_factory.mktemp("ssh") / "config"
    file.write_text(ann.devctl("ssh-config").stdout)
    assert f"Host {devserver}.devserver" in file.read_text()
    return file
