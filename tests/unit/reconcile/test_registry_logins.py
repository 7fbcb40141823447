"""The Secrets that images are pulled with, against an API server in memory."""

from __future__ import annotations

import asyncio
import logging

import pytest

from devservers.build.registry import platform_secret_name
from devservers.reconcile.registry_logins import PlatformLogins, ensure_registry_secret
from devservers_core.names import REGISTRY_ENTRY, SECRET_TYPE_REGISTRY
from devservers_core.registry import registry_of, secret_name
from devservers_core.types import Json
from tests.support.operator.api_stand_in import ApiStandIn
from tests.support.operator.build_objects import user

IMAGE = "ghcr.io/team/image:1"
LOGIN = ("Secret", "dev-ann", secret_name(registry_of(IMAGE)))
COPY = ("Secret", "dev-ann", platform_secret_name("pull"))


def source(data: str = "bG9naW4=", kind: str = SECRET_TYPE_REGISTRY) -> Json:
    return {
        "kind": "Secret",
        "metadata": {"name": "pull", "namespace": "s"},
        "type": kind,
        "data": {REGISTRY_ENTRY: data},
    }


def test_ensure_registry_secret_creates_an_empty_login_once() -> None:
    api = ApiStandIn()
    for _ in range(2):
        asyncio.run(ensure_registry_secret(api, user(), IMAGE))
    assert api.log == [f"create Secret/{LOGIN[2]}"]
    assert api.objects[LOGIN]["type"] == SECRET_TYPE_REGISTRY


def test_ensure_registry_secret_keeps_what_the_user_wrote() -> None:
    api = ApiStandIn()
    api.put({"kind": "Secret", "metadata": {"name": LOGIN[2], "namespace": LOGIN[1]}, "data": {REGISTRY_ENTRY: "own"}})
    asyncio.run(ensure_registry_secret(api, user(), IMAGE))
    assert api.log == []
    assert api.objects[LOGIN]["data"] == {REGISTRY_ENTRY: "own"}


def test_ensure_registry_secret_without_image_writes_nothing() -> None:
    api = ApiStandIn()
    asyncio.run(ensure_registry_secret(api, user(), None))
    assert api.log == []


def test_copy_to_creates_the_copy_once_and_replaces_it_when_the_source_changes() -> None:
    api = ApiStandIn()
    api.put(source())
    registries = PlatformLogins(api, "s", ["pull"])
    for _ in range(2):
        asyncio.run(registries.copy_to(user()))
    assert api.log == [f"create Secret/{COPY[2]}"]
    api.put(source("bmV3"))
    asyncio.run(PlatformLogins(api, "s", ["pull"]).copy_to(user()))
    assert api.log[1:] == [f"replace Secret/{COPY[2]}"]
    assert api.objects[COPY]["data"] == {REGISTRY_ENTRY: "bmV3"}


@pytest.mark.parametrize("kind", [None, "Opaque"])
def test_copy_to_with_an_unusable_source_warns_once_and_writes_nothing(
    kind: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    api = ApiStandIn()
    if kind is not None:
        api.put(source(kind=kind))
    registries = PlatformLogins(api, "s", ["pull"])
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            asyncio.run(registries.copy_to(user()))
    assert api.log == []
    assert [record.getMessage() for record in caplog.records] == [
        "no login to a registry in Secret s/pull: it must be of type kubernetes.io/dockerconfigjson"
    ]
