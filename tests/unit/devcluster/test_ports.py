"""Which port of loopback a cluster's node port becomes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devcluster.node import machine_setup
from devcluster.node.components import Site
from devcluster.node.ports import Ports

SITE = Site("10.213.0.2", "10.213.0.1", 1400, (), "devservers-test", False)
NODE_PORT = 32222


class Loopback:
    """Ports by their owners, in place of the machine's."""

    def __init__(self) -> None:
        self.owners: dict[int, str] = {}

    def publish(self, link: str, site: Site, port: int, node_port: int) -> bool:
        return self.owners.setdefault(port, link) == link


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> Loopback:
    @contextmanager
    def lock() -> Iterator[None]:
        yield

    made = Loopback()
    monkeypatch.setattr(machine_setup, "publish", made.publish)
    monkeypatch.setattr(machine_setup, "one_at_a_time", lock)
    return made


def test_first_platform_keeps_the_nodes_port_and_the_next_has_another(loopback: Loopback, tmp_path: Path) -> None:
    first, second = Ports(tmp_path / "a"), Ports(tmp_path / "b")
    assert first.publish("dsva", SITE, NODE_PORT) == NODE_PORT
    assert second.publish("dsvb", SITE, NODE_PORT) == NODE_PORT + 1
    assert first.publish("dsva", SITE, NODE_PORT) == NODE_PORT
    assert (first.read(), second.read()) == ({NODE_PORT: NODE_PORT}, {NODE_PORT: NODE_PORT + 1})


def test_second_node_port_of_a_cluster_leaves_the_first_its_own(loopback: Loopback, tmp_path: Path) -> None:
    ports = Ports(tmp_path / "a")
    assert ports.publish("dsva", SITE, NODE_PORT) == NODE_PORT
    loopback.owners[8080] = "a program"
    assert ports.publish("dsva", SITE, 8080) == NODE_PORT + 1
    assert ports.read() == {NODE_PORT: NODE_PORT, 8080: NODE_PORT + 1}


def test_a_platform_that_was_down_keeps_its_port_while_it_is_free(loopback: Loopback, tmp_path: Path) -> None:
    ports = Ports(tmp_path / "b")
    loopback.owners[NODE_PORT] = "dsva"
    assert ports.publish("dsvb", SITE, NODE_PORT) == NODE_PORT + 1
    loopback.owners.clear()
    assert ports.publish("dsvb", SITE, NODE_PORT) == NODE_PORT + 1
    loopback.owners = {NODE_PORT + 1: "dsvc"}
    assert ports.publish("dsvb", SITE, NODE_PORT) == NODE_PORT
    assert ports.read() == {NODE_PORT: NODE_PORT}


def test_no_free_port_is_said(loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_setup, "publish", lambda *_: False)
    assert Ports(tmp_path / "a").publish("dsva", SITE, NODE_PORT) is None
    assert Ports(tmp_path / "a").read() == {}
