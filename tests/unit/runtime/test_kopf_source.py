"""The event source: from kopf's events to the cache and the queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import cast

import pytest
from kubernetes.aio.client.configuration import Configuration

from devservers.reconcile.interfaces import Key
from devservers.runtime.cache import Cache
from devservers.runtime.kinds import WATCHED
from devservers.runtime.kopf_source import KopfSource
from devservers.runtime.log import PACKAGE
from devservers.runtime.workqueue import WorkQueue
from devservers_core.logs import OneLineFormatter
from tests.support.operator.cached import filled, obj


def test_take_many_events_queue_one_key_and_a_quotas_status_none() -> None:
    async def go() -> None:
        queue: WorkQueue[Key] = WorkQueue()
        source = KopfSource(filled(), queue, Configuration())
        labels = {"devservers.io/name": "one", "devservers.io/user": "ann"}
        for version in range(50):
            source.take("Pod", obj("Pod", "dev-ann", "one-x", version + 2, labels=labels))
        assert source.events == 50
        assert queue.depth == 1
        source.take("ResourceQuota", obj("ResourceQuota", "dev-ann", "q", 2, labels=labels, status={"used": 1}))
        assert queue.depth == 2, "a new quota matters"
        key = await queue.get()
        queue.done(key)
        key = await queue.get()
        queue.done(key)
        source.take("ResourceQuota", obj("ResourceQuota", "dev-ann", "q", 3, labels=labels, status={"used": 2}))
        assert queue.depth == 0
        source.take("ResourceQuota", obj("ResourceQuota", "dev-ann", "q", 4, labels=labels, spec={"hard": {}}))
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
