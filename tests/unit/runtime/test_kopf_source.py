"""From an event to keys: what should_enqueue, what doesn't, and to whom."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any, cast

import pytest
from kubernetes.aio.client.configuration import Configuration

from devservers.reconcile.interfaces import Key
from devservers.reconcile.mapper import map_to_keys, root_keys
from devservers.runtime.cache import Cache
from devservers.runtime.kinds import WATCHED
from devservers.runtime.kopf_source import KopfSource
from devservers.runtime.log import PACKAGE
from devservers.runtime.workqueue import WorkQueue
from devservers_core.logs import OneLineFormatter
from devservers_core.types import Json


def obj(kind: str, namespace: str, name: str, version: int = 1, **fields: Any) -> Json:
    metadata: Json = {"name": name, "resourceVersion": str(version), "uid": f"{kind}-{name}"}
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = fields.pop("labels", {})
    return {"kind": kind, "apiVersion": "v1", "metadata": metadata, **fields}


def filled() -> Cache:
    cache = Cache()
    cache.put(obj("DevServer", "dev-ann", "one", spec={"flavor": "small", "sharedVolumeClaimName": "data"}))
    cache.put(obj("DevServer", "dev-ann", "two", spec={"flavor": "big"}))
    cache.put(obj("DevServer", "dev-bob", "one", spec={"flavor": "small", "volumes": [{"claimName": "x"}]}))
    cache.put(obj("DevServerUser", "", "ann"))
    return cache


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


def test_take_many_events_queue_one_key_and_a_quotas_status_none() -> None:
    async def go() -> None:
        queue: WorkQueue[Key] = WorkQueue()
        watcher = KopfSource(filled(), queue, Configuration())
        labels = {"devservers.io/name": "one", "devservers.io/user": "ann"}
        for version in range(50):
            watcher.take("Pod", obj("Pod", "dev-ann", "one-x", version + 2, labels=labels))
        assert watcher.events == 50
        assert queue.depth == 1
        watcher.take("ResourceQuota", obj("ResourceQuota", "dev-ann", "q", 2, labels=labels, status={"used": 1}))
        assert queue.depth == 2, "a new quota matters"
        key = await queue.get()
        queue.done(key)
        key = await queue.get()
        queue.done(key)
        watcher.take("ResourceQuota", obj("ResourceQuota", "dev-ann", "q", 3, labels=labels, status={"used": 2}))
        assert queue.depth == 0
        watcher.take("ResourceQuota", obj("ResourceQuota", "dev-ann", "q", 4, labels=labels, spec={"hard": {}}))
        assert queue.depth == 1

    asyncio.run(go())


def test_log_record_is_one_line_with_its_place() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        record = logging.LogRecord("devservers", logging.WARNING, "f", 1, "failed key=%s", ("a",), None)
        record.exc_info = (type(error), error, error.__traceback__)
    line = OneLineFormatter(PACKAGE).format(record)
    assert "\n" not in line
    assert line.endswith('WARNING devservers failed key=a exc="ValueError: two lines"')


def test_handler_takes_in_kopfs_events_and_swallows_what_it_cannot_read(caplog: pytest.LogCaptureFixture) -> None:
    """Kopf would write anything that a handler returns into the object's status."""

    async def go() -> None:
        queue: WorkQueue[Key] = WorkQueue()
        source = KopfSource(filled(), queue, Configuration())
        handler = source._handler("DevServerUser")
        results: list[object] = []
        for event in ({"type": "ADDED", "object": obj("", "", "bob", 5)}, {"type": "ADDED", "object": {}}):
            result: object = await cast("Awaitable[object]", handler(event))
            results.append(result)
        assert results == [None, None]
        assert await queue.get() == Key("DevServerUser", "", "bob")

    asyncio.run(go())
    assert "event not handled kind=DevServerUser" in caplog.text


@pytest.mark.parametrize("token", ["", "secret"])
def test_login_gives_kopf_the_connection_of_the_api_client(token: str) -> None:
    configuration = Configuration()
    configuration.host = "https://192.0.2.1:6443"
    configuration.ssl_ca_cert = "/ca.crt"
    if token:
        configuration.api_key["BearerToken"] = f"Bearer {token}"
    source = KopfSource(Cache(), cast("WorkQueue[Key]", None), configuration)
    info = asyncio.run(source._login())
    assert (info.server, info.ca_path, info.token, info.scheme) == (
        "https://192.0.2.1:6443",
        "/ca.crt",
        token or None,
        "Bearer" if token else None,
    )
    assert (info.expiration is not None) == bool(token), "kopf asks again when a token has expired"


def test_settings_select_objects_as_the_first_list_does() -> None:
    source = KopfSource(Cache(), cast("WorkQueue[Key]", None), Configuration())
    selectors = source.settings().watching.label_selectors
    assert sorted(selectors.values()) == sorted(kind.selector for kind in WATCHED if kind.selector)
