"""A cluster that another version of the checkout started is asked as that version started it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from devcluster import cluster as module
from devcluster.cluster import PROGRAMS, Cluster
from devcluster.node import machine_setup


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(module, "_tools", lambda: {name: f"/tools/{name}" for name in PROGRAMS})
    monkeypatch.setattr(machine_setup, "mtu", lambda: 1500)
    (tmp_path / "site.json").write_text(json.dumps({"address": "10.213.0.2", "gateway": "10.213.0.1"}))
    return Cluster(tmp_path)


def test_etcd_of_the_version_before_has_no_certificates(cluster: Cluster) -> None:
    asked = {part["name"]: part["health"] for part in cluster.components()}
    assert asked["etcd"] == "http://127.0.0.1:2379/health"
    assert asked["kube-apiserver"] == "https://127.0.0.1:6443/readyz"


def test_what_was_written_down_wins(cluster: Cluster) -> None:
    said = [{"name": "etcd", "argv": ["/old/etcd"], "health": "http://127.0.0.1:2379/health"}]
    (cluster.folder / "components.json").write_text(json.dumps(said))
    assert cluster.components() == said
