"""The watches of people's secrets, against an HTTP server that speaks the API server's JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from devservers.reconcile.interfaces import Key
from devservers.runtime import secret_watches
from devservers.runtime.cache import Cache
from devservers.runtime.kube_client import KubeClient
from devservers.runtime.secret_watches import SecretWatches
from devservers_core.names import TENANT_ROLE
from devservers_core.types import Json
from tests.support.operator.http_api import Answer, HttpApi, Request
from tests.support.wait import eventually_async

PATH = "/api/v1/namespaces/dev-ann/secrets"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_watches, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(secret_watches, "LOOK_SECONDS", 0.01)


def secret(name: str, key: str = "value") -> Json:
    manager = {"time": "2026-05-01T00:00:00Z", "fieldsV1": {"f:data": {f"f:{key}": {}}}}
    return {"kind": "PartialObjectMetadata", "metadata": {"name": f"user-secret-{name}", "managedFields": [manager]}}


def listed(*secrets: Json) -> Answer:
    return 200, {"kind": "PartialObjectMetadataList", "metadata": {"resourceVersion": "9"}, "items": list(secrets)}


def events(*changes: tuple[str, Json]) -> Answer:
    return 200, "".join(json.dumps({"type": kind, "object": obj}) + "\n" for kind, obj in changes)


def cache(*users: str) -> Cache:
    filled = Cache()
    for number, user in enumerate(users):
        filled.put({"kind": "DevServerUser", "metadata": {"name": user, "resourceVersion": str(number + 1)}})
        binding = {"name": TENANT_ROLE, "namespace": f"dev-{user}", "resourceVersion": str(number + 1)}
        filled.put({"kind": "RoleBinding", "metadata": binding})
    return filled


def run(answers: list[Answer], check: Callable[[SecretWatches, HttpApi, list[Key], Cache], Awaitable[None]]) -> None:
    """Runs the watches against answers in order; the last request of all stays open."""

    async def main() -> None:
        def respond(request: Request) -> Answer:
            return answers.pop(0) if answers else (500, {"message": "no more"})

        keys: list[Key] = []
        known = cache("ann")
        async with HttpApi(respond) as api:
            client = KubeClient(api.configuration(), connections=0)
            watches = SecretWatches(client, known, keys.append)
            task = asyncio.create_task(watches.run())
            try:
                await check(watches, api, keys, known)
            finally:
                task.cancel()
                await asyncio.wait([task])
                await client.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def names(watches: SecretWatches) -> list[str] | None:
    entries = watches.of("dev-ann")
    return None if entries is None else sorted(name.removeprefix("user-secret-") for name in entries)


def test_secret_watches_that_end_at_once_pause_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An API server that ends every watch with an ERROR event isn't listed in a loop."""
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        if seconds >= 0.5:
            pauses.append(seconds)
        await sleep(min(seconds, 0.01))

    monkeypatch.setattr("devservers.runtime.secret_watches.asyncio.sleep", note)
    monkeypatch.setattr(secret_watches, "RETRY_SECONDS", 1.0)

    async def check(watches: SecretWatches, api: HttpApi, keys: list[Key], known: Cache) -> None:
        await eventually_async(lambda: len(pauses) >= 4, "four pauses")
        assert [round(pause / expected) for pause, expected in zip(pauses, (1, 2, 4, 8), strict=False)] == [1, 1, 1, 1]

    error = ("ERROR", {"kind": "Status", "code": 410, "metadata": {}})
    run([answer for _ in range(4) for answer in (listed(), events(error))], check)


def test_secret_watches_follow_list_and_changes_and_ask_for_metadata_of_one_type_only() -> None:
    async def check(watches: SecretWatches, api: HttpApi, keys: list[Key], known: Cache) -> None:
        await eventually_async(lambda: names(watches) == ["b"], "the last change")
        assert keys == [Key("DevServerUser", "", "ann")] * 4
        first, second = api.requests[:2]
        assert (first.path, first.query) == (PATH, {"fieldSelector": "type=devservers.io/user"})
        assert first.headers["accept"] == "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        assert second.query["watch"] == "true"
        assert second.query["resourceVersion"] == "9"
        assert second.headers["accept"] == "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
        assert json.loads((watches.of("dev-ann") or {})["user-secret-b"])["keys"] == ["other"]

    changes = events(
        ("MODIFIED", secret("a")),  # as it was listed: nothing to write
        ("ADDED", secret("b")),
        ("MODIFIED", secret("b", "other")),
        ("DELETED", secret("a")),
    )
    run([listed(secret("a")), changes, listed(secret("b", "other"))], check)


@pytest.mark.parametrize(
    "failure",
    [
        (403, {"message": "the role isn't bound yet"}),
        None,
        (200, {"kind": "SecretList", "metadata": {}, "items": [{"metadata": {"name": "user-secret-x"}}]}),
    ],
)
def test_secret_watches_list_again_after_a_failure(failure: Answer) -> None:
    """Whole objects, which an API server without metadata would send, are taken for a failure."""

    async def check(watches: SecretWatches, api: HttpApi, keys: list[Key], known: Cache) -> None:
        await eventually_async(lambda: names(watches) == ["a"], "the list")

    run([failure, failure, listed(secret("a"))], check)


def test_secret_watches_version_too_old_lists_again() -> None:
    async def check(watches: SecretWatches, api: HttpApi, keys: list[Key], known: Cache) -> None:
        await eventually_async(lambda: names(watches) == ["c"], "the second list")

    run([listed(secret("a")), events(("ERROR", {"code": 410})), listed(secret("c"))], check)


def test_secret_watches_of_a_deleted_user_end() -> None:
    async def check(watches: SecretWatches, api: HttpApi, keys: list[Key], known: Cache) -> None:
        assert watches.of("dev-ann") is None, "nothing is known before the first list"
        await eventually_async(lambda: names(watches) == ["a"], "the list")
        known.forget({"kind": "DevServerUser", "metadata": {"name": "ann", "resourceVersion": "5"}})
        await eventually_async(lambda: watches.of("dev-ann") is None, "the end")

    run([listed(secret("a"))], check)
