"""The API paths of DevServers, flavors, users, and of the core group's kinds."""

from __future__ import annotations

from urllib.parse import quote

from devservers_core import names


def server_path(namespace: str, name: str | None = None) -> str:
    """Path of the DevServers of a namespace, or of one of them."""
    path = f"/apis/{names.API_VERSION}/namespaces/{quote(namespace)}/devservers"
    return f"{path}/{quote(name)}" if name else path


def flavor_path(name: str | None = None) -> str:
    """Path of the flavors, or of one."""
    path = f"/apis/{names.API_VERSION}/devserverflavors"
    return f"{path}/{quote(name)}" if name else path


def user_path(name: str | None = None) -> str:
    """Path of the DevServerUsers, or of one."""
    path = f"/apis/{names.API_VERSION}/devserverusers"
    return f"{path}/{quote(name)}" if name else path


def core_path(namespace: str, resource: str, name: str | None = None) -> str:
    """Path of a namespaced kind of the core group."""
    path = f"/api/v1/namespaces/{quote(namespace)}/{resource}"
    return f"{path}/{quote(name)}" if name else path


STORAGE_CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
"""Path of the StorageClasses."""

SNAPSHOT_GROUP = "snapshot.storage.k8s.io"
"""API group of VolumeSnapshots, which a cluster may not have."""
SNAPSHOT_API_VERSION = f"{SNAPSHOT_GROUP}/v1"
SNAPSHOT_CLASSES = f"/apis/{SNAPSHOT_API_VERSION}/volumesnapshotclasses"
"""Path of the VolumeSnapshotClasses."""


def snapshot_path(namespace: str, name: str | None = None) -> str:
    """Path of the VolumeSnapshots of a namespace, or of one of them."""
    path = f"/apis/{SNAPSHOT_API_VERSION}/namespaces/{quote(namespace)}/volumesnapshots"
    return f"{path}/{quote(name)}" if name else path
