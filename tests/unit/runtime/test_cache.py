"""The cache: objects never go back in time, whatever order events come in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devservers.runtime.cache import Cache, strip_unread_fields


def pod(version: int, uid: str = "u1", name: str = "a", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "dev-ann", "uid": uid, "resourceVersion": str(version)}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, **more}


def test_apply_older_version_is_ignored() -> None:
    cache = Cache()
    assert cache.apply("Pod", pod(5)) is not None
    assert cache.apply("Pod", pod(5)) is None
    assert cache.apply("Pod", pod(4)) is None
    change = cache.apply("Pod", pod(6))
    assert change is not None
    assert change.old == pod(5)
    assert change.new == pod(6)


def test_apply_late_event_does_not_restore_a_deleted_object() -> None:
    cache = Cache()
    cache.apply("Pod", pod(5))
    assert cache.apply("Pod", pod(7), deleted=True) is not None
    assert cache.apply("Pod", pod(6)) is None
    assert cache.get("Pod", "dev-ann", "a") is None
    assert cache.apply("Pod", pod(8, "u2")) is not None


def ended_pod(version: int, name: str = "a", state: str = "terminated") -> dict[str, Any]:
    status = {"name": "dev", "state": {state: {"exitCode": 143, "message": "epoch 7"}}, "image": "x"}
    return pod(version, name=name) | {"status": {"phase": "Running", "containerStatuses": [status]}}


def test_deleted_pod_that_ended_is_kept_by_how_it_ended() -> None:
    cache = Cache()
    cache.apply("Pod", pod(5))
    cache.apply("Pod", ended_pod(7), deleted=True)
    (former,) = cache.former_pods("dev-ann")
    assert former["metadata"]["name"] == "a"
    assert "spec" not in former
    (status,) = former["status"]["containerStatuses"]
    assert status == {"name": "dev", "state": {"terminated": {"exitCode": 143, "message": "epoch 7"}}}
    assert cache.list("Pod", "dev-ann") == []
    assert cache.former_pods("dev-bob") == []


def test_deleted_pods_are_kept_in_bounds_and_only_where_they_ended() -> None:
    cache = Cache()
    cache.apply("Pod", ended_pod(3, "running", "running"), deleted=True)
    for number in range(1000):
        cache.apply("Pod", ended_pod(10 + number, f"p{number}"), deleted=True)
    names = [former["metadata"]["name"] for former in cache.former_pods("dev-ann")]
    assert names == [f"p{number}" for number in range(1000 - 256, 1000)]


def test_apply_late_deletion_keeps_the_successor() -> None:
    cache = Cache()
    cache.apply("Pod", pod(5))
    cache.apply("Pod", pod(8, "u2"))
    assert cache.apply("Pod", pod(7), deleted=True) is None
    assert cache.get("Pod", "dev-ann", "a") is not None


def test_replace_returns_missed_and_deleted_and_keeps_newer_objects() -> None:
    cache = Cache()
    cache.apply("Pod", pod(5, name="kept"))
    cache.apply("Pod", pod(6, name="ghost"))
    cache.apply("Pod", pod(20, name="newer"))
    news, ghosts = cache.replace("Pod", [pod(5, name="kept"), pod(9, name="missed")], 10)
    assert [obj["metadata"]["name"] for obj in news] == ["missed"]
    assert [obj["metadata"]["name"] for obj in ghosts] == ["ghost"]
    assert {obj["metadata"]["name"] for obj in cache.list("Pod", "dev-ann")} == {"kept", "missed", "newer"}


@pytest.mark.parametrize("kind", ["PersistentVolumeClaim", "DevServer"])
def test_strip_unread_fields_bounds_objects_of_users(kind: str) -> None:
    """Each of them may be 1.5 MiB, and one person has a hundred: the operator's memory is everybody's."""
    large = "x" * 200_000
    metadata = {
        "name": "a", "namespace": "dev-ann", "uid": "1", "resourceVersion": "7",
        "annotations": {"a": large, "devservers.io/x": large, "devservers.io/home-of": "a"},
        "labels": {"devservers.io/name": "a", **{f"label-{number}": "x" * 63 for number in range(3000)}},
        "ownerReferences": [{"name": large}], "finalizers": [f"ann.example/{number}" for number in range(9000)],
    }  # fmt: skip
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    selector = {"selector": {"matchLabels": {"a": large}}} if kind == "PersistentVolumeClaim" else {}
    kept = strip_unread_fields({"kind": kind, "metadata": metadata, "spec": spec | selector})
    assert len(json.dumps(kept)) < 1000
    assert kept["metadata"]["annotations"] == {"devservers.io/home-of": "a"}
    assert kept["metadata"]["labels"] == {"devservers.io/name": "a"}
    assert kept["spec"] == spec


def test_put_strips_managed_fields_and_last_applied() -> None:
    cache = Cache()
    obj = pod(1)
    obj["metadata"]["managedFields"] = [{"manager": "x"}]
    obj["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "b"}
    cache.put(obj)
    metadata = (cache.get("Pod", "dev-ann", "a") or {})["metadata"]
    assert "managedFields" not in metadata
    assert metadata["annotations"] == {"a": "b"}


@given(st.permutations([(3, False), (5, False), (9, True), (4, False), (7, False)]))
def test_apply_in_any_order_ends_the_same(events: list[tuple[int, bool]]) -> None:
    cache = Cache()
    for version, deleted in events:
        cache.apply("Pod", pod(version), deleted=deleted)
    # A deletion that arrived before anything else leaves its mark all the same.
    assert cache.get("Pod", "dev-ann", "a") is None
