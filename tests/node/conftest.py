"""Fixtures of the node tests: one platform, its user and a server for the session.

Invariant: the node tests use what a person uses: `make up`'s program, devctl, and the system's own ssh. The platform is
one a session, with a home and a state folder of its own (only the cache of tools and images is shared),
so a platform that the person at this machine runs is neither used nor touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.node.person import Person, Platform, running_platform


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What ends the platform comes last; everything else keeps its order."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The platform, brought up as `make up` does; taken down at the end whatever happened."""
    with running_platform(tmp_path_factory.mktemp("node")) as platform:
        yield platform


@pytest.fixture(scope="session")
def ann(platform: Platform) -> Person:
    """The person the platform was made for."""
    return Person(platform, "ann")


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
