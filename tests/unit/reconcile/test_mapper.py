"""The mapper: which root objects a changed object leads to."""

from __future__ import annotations

from typing import Any

from devservers.reconcile.mapper import map_to_keys, root_keys
from devservers.runtime.cache import Cache
from tests.support.operator.cached import filled, obj
from tests.support.operator.queue_objects import workload


def keys(kind: str, namespace: str, name: str, **fields: Any) -> set[str]:
    return {str(key) for key in map_to_keys(filled(), kind, obj(kind, namespace, name, **fields))}


def test_map_to_keys_each_kind_leads_to_its_roots() -> None:
    child = {"devservers.io/name": "one", "devservers.io/user": "ann"}
    assert keys("DevServer", "dev-ann", "one") == {"DevServer/dev-ann/one"}
    assert keys("DevServerFlavor", "", "small") == {"DevServer/dev-ann/one", "DevServer/dev-bob/one"}
    assert keys("DevServerUser", "", "ann") == {
        "DevServerUser/ann", "DevServer/dev-ann/one", "DevServer/dev-ann/two",
    }  # fmt: skip
    for kind in ("Deployment", "Pod", "Service", "ConfigMap"):
        assert keys(kind, "dev-ann", "whatever", labels=child) == {"DevServer/dev-ann/one"}
    for kind in ("ServiceAccount", "RoleBinding", "NetworkPolicy", "ResourceQuota", "LimitRange"):
        assert keys(kind, "dev-ann", "x", labels={"devservers.io/user": "ann"}) == {"DevServerUser/ann"}
    assert keys("PersistentVolumeClaim", "dev-ann", "data") == {"DevServer/dev-ann/one"}
    assert keys("PersistentVolumeClaim", "dev-ann", "two-home") == {"DevServer/dev-ann/two"}
    assert keys("PersistentVolumeClaim", "dev-bob", "x") == {"DevServer/dev-bob/one", "DevServerUser/bob"}
    assert keys("PersistentVolumeClaim", "default", "x") == set()


def test_root_keys_are_users_first_with_namespaces_of_deleted_users() -> None:
    cache = filled()
    cache.put(obj("Namespace", "", "dev-gone"))
    assert [str(key) for key in root_keys(cache)][:2] == ["DevServerUser/ann", "DevServerUser/gone"]


def test_map_to_keys_of_a_workload_is_the_server_of_its_pod() -> None:
    cache = Cache()
    cache.put(obj("Pod", "dev-ann", "mydev-1", labels={"devservers.io/name": "mydev"}))
    assert [str(key) for key in map_to_keys(cache, "Workload", workload())] == ["DevServer/dev-ann/mydev"]
    assert list(map_to_keys(cache, "Workload", workload("other-1"))) == []
    job = workload()
    job["metadata"]["ownerReferences"][0]["kind"] = "Job"
    assert list(map_to_keys(cache, "Workload", job)) == []
