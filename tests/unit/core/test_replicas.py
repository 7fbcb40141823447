"""Names of distributed servers and their homes."""

from __future__ import annotations

import pytest

from devservers_core import replicas


def test_home_names_are_one_for_each_replica_and_one_without() -> None:
    assert replicas.home_names("train", None) == ("train-home",)
    assert replicas.home_names("train", 2) == ("home-train-0", "home-train-1")


@pytest.mark.parametrize(
    ("claim", "server", "is_home"),
    [
        ("home-train-0", "train", True),
        ("home-train-63", "train", True),
        ("home-train-64", "train", False),
        ("home-train-x", "train", False),
        ("home-train-", "train", False),
        ("home-train-0", "rain", False),
        ("train-home", "train", False),
        ("home-train-1-0", "train", False),
        ("home-train-1-0", "train-1", True),
    ],
)
def test_is_replica_home_needs_the_servers_own_name_and_a_number(claim: str, server: str, is_home: bool) -> None:
    assert replicas.is_replica_home(claim, server) is is_home


def test_server_of_home_reads_the_name_back() -> None:
    assert replicas.server_of_home("home-train-1-0") == "train-1"
    assert replicas.server_of_home("train-home") is None
    assert replicas.server_of_home("home-0") is None
    assert replicas.server_of_home("data") is None
