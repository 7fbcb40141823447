"""`devctl volume` with a person's own rights; snapshots by the snapshot controller's kinds, without the controller."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.support.cluster.client import Client
from tests.support.cluster.devctl import Devctl
from tests.support.cluster.harness import ApiServer
from tests.support.cluster.persons import devctl_of
from tests.support.cluster.snapshots import GROUP, VERSION, install_snapshots, remove_snapshots
from tests.support.wait import eventually


@pytest.fixture
def person(cluster: ApiServer, namespace: str, tmp_path: Path) -> Devctl:
    """A person's devctl with the roles that the platform gives them."""
    return devctl_of(cluster, namespace, tmp_path)


def _bind(admin: Client, namespace: str, name: str, size: str) -> None:
    status = {"status": {"phase": "Bound", "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"]}}
    admin.patch("v1", "PersistentVolumeClaim", name, status, namespace, subresource="status")


def _snapshot_and_restore(person: Devctl, admin: Client, namespace: str) -> None:
    """The person's part is devctl's, the snapshot controller's the test's."""
    refused = person("volume", "snapshot", "create", "data", code=6).stderr
    assert "no VolumeSnapshotClass has their driver" in refused
    admin.create(
        {"apiVersion": VERSION, "kind": "VolumeSnapshotClass", "metadata": {"name": "disks"},
         "driver": "example.org/disks", "deletionPolicy": "Delete"}
    )  # fmt: skip
    taking = person.start("volume", "snapshot", "create", "data", "--name", "before")
    snapshot = eventually(lambda: admin.find(VERSION, "VolumeSnapshot", "before", namespace), "the snapshot")
    assert snapshot["spec"] == {
        "volumeSnapshotClassName": "disks",
        "source": {"persistentVolumeClaimName": "data"},
    }
    status = {"creationTime": "2026-01-01T00:00:00Z", "readyToUse": True, "restoreSize": "2Gi"}
    admin.patch(VERSION, "VolumeSnapshot", "before", {"status": status}, namespace, subresource="status")
    said = taking.communicate(timeout=30)[1]
    assert "the snapshot before of data is taken" in said
    assert "your only snapshot may hold 2.0Gi in all" in said
    assert (
        "needs 2Gi, and --size is 1Gi" in person("volume", "restore", "before", "small", "--size", "1Gi", code=6).stderr
    )
    person("volume", "restore", "before", "rescued")
    spec = admin.get("v1", "PersistentVolumeClaim", "rescued", namespace)["spec"]
    assert spec["dataSource"] == {"apiGroup": GROUP, "kind": "VolumeSnapshot", "name": "before"}
    assert spec["resources"]["requests"] == {"storage": "2Gi"}
    assert spec["storageClassName"] == "growing"
    person("volume", "snapshot", "delete", "before", "--yes")
    assert person("volume", "snapshot", "list", "-o", "name").stdout == ""


def test_volume_commands_work_with_a_persons_rights(
    person: Devctl, admin: Client, cluster: ApiServer, namespace: str
) -> None:
    """Create, list, grow and delete; snapshot and restore, once the cluster has the kinds."""
    for name, grows in (("growing", True), ("rigid", False)):
        admin.apply(
            {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
             "provisioner": "example.org/disks", "allowVolumeExpansion": grows}
        )  # fmt: skip

    for name, storage_class in (("data", "growing"), ("other", "rigid")):
        person("volume", "create", name, "--size", "1Gi", "--class", storage_class)
        admin.patch("v1", "PersistentVolumeClaim", name, {"spec": {"volumeName": f"disk-{name}"}}, namespace)
        _bind(admin, namespace, name, "1Gi")
    assert (
        "no storage class 'fast'" in person("volume", "create", "x", "--size", "1Gi", "--class", "fast", code=6).stderr
    )
    assert "can't grow" in person("volume", "grow", "other", "--size", "2Gi", code=6).stderr
    growing = person.start("volume", "grow", "data", "--size", "2Gi")
    eventually(
        lambda: (
            admin.get("v1", "PersistentVolumeClaim", "data", namespace)["spec"]["resources"]["requests"]
            == {"storage": "2Gi"}
        ),
        "the request",
    )
    _bind(admin, namespace, "data", "2Gi")
    assert "data has 2Gi now, its file system too" in growing.communicate(timeout=30)[1]
    remove_snapshots(admin)
    listed = partial(person.start, "volume", "snapshot", "list")
    eventually(lambda: "can't take snapshots" in listed().communicate()[1], "no kinds")
    install_snapshots(admin)
    try:
        eventually(lambda: listed().wait() == 0, "the kinds")
        _snapshot_and_restore(person, admin, namespace)
    finally:
        remove_snapshots(admin)
    person("volume", "delete", "other", "--yes")
    # The finalizer of claims stays unless an earlier test started the controller manager, which takes it away.
    claim = admin.find("v1", "PersistentVolumeClaim", "other", namespace)
    assert claim is None or "deletionTimestamp" in claim["metadata"]
