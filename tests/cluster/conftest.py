"""Fixtures of the cluster tests: one API server for the session.

Invariant: tests keep apart by namespace and name, not by cleaning up.

`make test` runs two files at a time, in two processes with an API server each.

`api_server` is bare, `cluster` has the CRDs and admission policies exactly as shipped, `controllers` adds
Kubernetes' own controllers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.support.cluster.client import Client
from tests.support.cluster.devctl import make_flavors
from tests.support.cluster.harness import ApiServer, running_api_server, running_controllers
from tests.support.cluster.shipped import install, make_namespace

LONGEST = ("test_pulumi.py", "test_operator_queueing.py", "test_operator_killed.py", "test_operator_users.py")
"""Files that take minutes: they run first, so that neither of two processes is left alone with one of them."""

_users = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, and leave all other tests in their order."""
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(scope="session")
def api_server() -> Iterator[ApiServer]:
    """A bare API server."""
    with running_api_server() as server:
        yield server


@pytest.fixture(scope="session")
def cluster(api_server: ApiServer) -> ApiServer:
    """The API server with what operator/crds holds, in force."""
    install(api_server.admin)
    return api_server


@pytest.fixture(scope="session")
def controllers(cluster: ApiServer) -> Iterator[ApiServer]:
    """The same, with Deployments, garbage collection, namespace deletion and quota at work; no kubelet."""
    with running_controllers(cluster):
        yield cluster


@pytest.fixture
def admin(cluster: ApiServer) -> Client:
    """A client that may do everything, CRDs installed."""
    return cluster.admin


@pytest.fixture
def user_name() -> str:
    """A user name of this test alone."""
    return f"user{next(_users)}"


@pytest.fixture
def namespace(admin: Client, user_name: str) -> str:
    """A user's namespace as the operator would make it, every flavor allowed."""
    return make_namespace(admin, user_name)


@pytest.fixture
def restricted_namespace(admin: Client, user_name: str) -> Callable[[str], str]:
    """Makes this test's user namespace with the allowed-flavors annotation that it is given."""
    return lambda flavors: make_namespace(admin, user_name, flavors)


@pytest.fixture(scope="module")
def devctl_flavors(cluster: ApiServer) -> None:
    """The flavors that tests of devctl name: one that fits anywhere, and one that no node has room for."""
    make_flavors(cluster)
