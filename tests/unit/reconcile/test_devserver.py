"""What a server's reconcile does with rejections, volumes, missing objects and its end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from devservers_core.errors import ApiError
from devservers_core.types import Json
from tests.support.operator.world import World

QUOTA = (
    'persistentvolumeclaims "mydev-home" is forbidden: exceeded quota: dev-user, requested: requests.storage=1Gi, '
    "used: requests.storage=5Gi, limited: requests.storage=5Gi"
)
DEPLOYMENT = ("Deployment", "dev-ann", "mydev")
HOST_KEY = ("Secret", "dev-ann", "mydev-host-key")


@pytest.fixture
def world() -> World:
    world = World()
    world.user()
    world.flavor()
    return world


def rejecting(kind: str, status: int, message: str) -> Any:
    def refuse(verb: str, obj: Json) -> None:
        if obj["kind"] == kind and verb == "apply":
            raise ApiError(status, "Forbidden", message)

    return refuse


def claim(world: World, name: str, size: str = "1Gi", **metadata: object) -> None:
    obj = {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "dev-ann", **metadata},
        "spec": {"resources": {"requests": {"storage": size}}, "volumeName": f"pv-{name}"},
        "status": {"phase": "Bound"},
    }
    world.cache.put(world.api.put(obj))


def test_absent_server_does_nothing(world: World) -> None:
    writes = list(world.api.log)
    assert world.reconcile().requeue_after is None
    assert world.api.log == writes


def test_expired_server_with_on_expiry_delete_is_deleted_with_an_event(world: World) -> None:
    world.put(
        "DevServer",
        "dev-ann",
        "mydev",
        spec={"flavor": "small", "lifecycle": {"expirationTime": "2026-01-01T00:00:00Z", "onExpiry": "delete"}},
    )
    world.api.log.clear()
    world.reconcile()
    record, event, deletion = world.api.log
    assert record == "apply ConfigMap/mydev-ended"
    assert event.startswith("create Event/mydev.")
    assert deletion == "delete DevServer/mydev"
    (posted,) = [obj for address, obj in world.api.objects.items() if address[0] == "Event"]
    assert posted["note"] == "The server reached its end time and is deleted. Its home is kept."


def test_server_of_an_unreadable_user_keeps_running(world: World) -> None:
    world.server()
    status = world.api.objects[("DevServerUser", "", "ann")]["status"]
    world.put("DevServerUser", "", "ann", spec={"username": 5}, status=status)
    world.api.log.clear()
    world.reconcile()
    assert world.api.log == []
    assert world.api.objects[DEPLOYMENT]["spec"]["replicas"] == 1


def test_unreadable_flavor_counts_as_missing(world: World) -> None:
    world.put("DevServerFlavor", "", "small", spec={"resources": {"limits": {"cpu": "many"}}})
    world.server()
    assert world.conditions()["Ready"]["reason"] == "FlavorNotFound"


def test_new_home_beyond_the_quota_is_reported_and_tried_again_in_a_minute(world: World) -> None:
    """No event says that a quota has room again."""
    world.api.before_write = rejecting("PersistentVolumeClaim", 403, QUOTA)
    world.server(persistentHomeSize="1Gi")
    assert world.conditions()["Ready"]["reason"] == "QuotaExceeded"
    assert world.reconcile().requeue_after == 60
    assert DEPLOYMENT not in world.api.objects


def test_home_that_cannot_grow_is_reported_and_the_server_runs(world: World) -> None:
    claim(world, "mydev-home")
    world.api.before_write = rejecting("PersistentVolumeClaim", 403, "only dynamically provisioned pvc can be resized")
    world.server(persistentHomeSize="2Gi")
    assert world.conditions()["HomeResized"]["reason"] == "NotExpandable"
    assert DEPLOYMENT in world.api.objects


def test_home_that_fails_for_another_reason_fails_the_reconcile(world: World) -> None:
    world.api.before_write = rejecting("PersistentVolumeClaim", 500, "etcd is away")
    with pytest.raises(ApiError, match="etcd"):
        world.server(persistentHomeSize="1Gi")


def test_deployment_rejected_as_invalid_is_reported_and_not_tried_again_soon(world: World) -> None:
    world.api.before_write = rejecting("Deployment", 422, "spec.template: Too long")
    world.server()
    ready = world.conditions()["Ready"]
    assert ready["reason"] == "InvalidSpec"
    assert "Too long" in ready["message"]
    assert world.reconcile().requeue_after is None


def test_deployment_that_fails_fails_the_reconcile(world: World) -> None:
    world.api.before_write = rejecting("Deployment", 500, "etcd is away")
    with pytest.raises(ApiError, match="etcd"):
        world.server()


def test_referenced_claims_that_are_absent_or_being_deleted_are_reported(world: World) -> None:
    claim(world, "shared", deletionTimestamp="2026-01-01T00:00:00Z")
    world.server(volumes=[{"claimName": "data", "mountPath": "/data"}], sharedVolumeClaimName="shared")
    assert world.conditions()["Ready"]["reason"] == "VolumeNotFound"
    assert "no volume claim data." in world.conditions()["Ready"]["message"]
    assert "The volume claim shared is being deleted" in world.conditions()["VolumeDeleting"]["message"]


@pytest.mark.parametrize("readable", [True, False])
def test_volume_that_cannot_be_mounted_is_explained_by_the_newest_event(world: World, readable: bool) -> None:
    """Events are an explanation only: a reconcile goes on without."""
    claim(world, "data")
    world.server(volumes=[{"claimName": "data", "mountPath": "/data"}])
    since = "2026-01-01T00:00:00Z"
    pod = {
        "kind": "Pod",
        "metadata": {
            "name": "mydev-1", "namespace": "dev-ann", "creationTimestamp": since,
            "labels": {"devservers.io/name": "mydev"},
        },
        "spec": {"nodeName": "node-1", "containers": [], "initContainers": []},
        "status": {"conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": since}]},
    }  # fmt: skip
    world.cache.put(world.api.put(pod))
    event = {
        "involvedObject": {"kind": "Pod", "name": "mydev-1"},
        "reason": "FailedMount",
        "message": 'MountVolume.SetUp failed for volume "pv-data" : Connection refused',
        "lastTimestamp": "2026-01-01T00:01:00Z",
    }

    async def events(namespace: str, kind: str, name: str = "") -> list[Json]:
        if not readable:
            raise ApiError(403, "Forbidden", "")
        return [event]

    world.api.events = events  # type: ignore[method-assign]
    assert world.reconcile().requeue_after == 60
    ready = world.conditions()["Ready"]
    if readable:
        assert ready["reason"] == "VolumeMountFailed"
        assert ready["message"].startswith("The volume claim data can't be mounted: Connection refused.")
    else:
        assert ready["reason"] == "Starting"


def test_host_key_with_another_owner_is_written_again_with_the_same_key(world: World) -> None:
    world.server()
    before = dict(world.api.objects[HOST_KEY]["data"])
    world.api.objects[HOST_KEY]["metadata"]["ownerReferences"] = [{"uid": "other"}]
    world.reconcile()
    assert world.api.log[-2:] == ["delete Secret/mydev-host-key", "create Secret/mydev-host-key"]
    after = world.api.objects[HOST_KEY]
    assert after["data"]["ssh_host_ed25519_key"] == before["ssh_host_ed25519_key"]
    assert after["metadata"]["ownerReferences"][0]["kind"] == "DevServer"


def test_server_of_a_deleted_user_is_scaled_to_zero(world: World) -> None:
    world.server()
    user = world.api.objects.pop(("DevServerUser", "", "ann"))
    world.cache.forget(user)
    world.reconcile()
    assert world.api.objects[DEPLOYMENT]["spec"]["replicas"] == 0
    assert world.conditions()["Ready"]["reason"] == "OwnerNotFound"
    assert "scale Deployment/mydev" in world.api.log


def test_scale_to_zero_of_a_deployment_that_is_gone_is_no_failure(world: World) -> None:
    world.server()
    world.cache.forget(world.api.objects.pop(("DevServerUser", "", "ann")))

    async def scale(kind: str, namespace: str, name: str, replicas: int) -> None:
        raise ApiError(404, "NotFound", "")

    world.api.scale = scale  # type: ignore[method-assign]
    asyncio.run(world.servers.reconcile("dev-ann", "mydev"))
