"""A whole Operator in the test's own process, against an HTTP server that keeps the API's objects in memory."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from devservers.runtime.kinds import KINDS
from devservers.runtime.operator import Operator
from devservers.runtime.settings import Settings
from devservers_core.client import kubeconfig
from devservers_core.types import Json
from tests.support.operator.http_api import Answer, HttpApi, Request


class Objects:
    """Objects by URL path, with discovery, lists, watches that end at once, creation, replacement and apply."""

    def __init__(self) -> None:
        self.stored: dict[str, Json] = {}
        self.version = 100

    def put(self, kind: str, name: str, namespace: str = "", **fields: object) -> None:
        metadata = {"name": name, "generation": 1} | ({"namespace": namespace} if namespace else {})
        self._store(KINDS[kind].path(namespace, name), {"kind": kind, "metadata": metadata, **fields})

    def respond(self, request: Request) -> Answer:
        discovery = _discovery(request.path)
        if discovery is not None:
            return 200, discovery
        if request.method == "POST":
            assert request.body is not None
            return 201, self._store(f"{request.path}/{request.body['metadata']['name']}", request.body)
        if request.method in ("PUT", "PATCH"):
            assert request.body is not None
            path = request.path.removesuffix("/status")
            return 200, self._store(path, {**self.stored.get(path, {}), **request.body})
        if request.method == "DELETE":
            return 200, self.stored.pop(request.path, {})
        if any(request.path == kind.path() for kind in KINDS.values()):
            items = [obj for path, obj in self.stored.items() if _collection(path) == request.path]
            # A watch that ends at once: kopf opens it again.
            metadata = {"resourceVersion": str(self.version)}
            return (200, "") if "watch" in request.query else (200, {"metadata": metadata, "items": items})
        found = self.stored.get(request.path)
        return (404, {"reason": "NotFound"}) if found is None else (200, found)

    def _store(self, path: str, obj: Json) -> Json:
        self.version += 1
        metadata = {"uid": f"u-{self.version}", **self.stored.get(path, {}).get("metadata", {}), **obj["metadata"]}
        self.stored[path] = {**obj, "metadata": {**metadata, "resourceVersion": str(self.version)}}
        return self.stored[path]


def _collection(path: str) -> str:
    """The path of the list over all namespaces that an object is in."""
    parts = path.split("/")[:-1]
    if "namespaces" in parts and parts[-1] != "namespaces":
        at = parts.index("namespaces")
        del parts[at : at + 2]
    return "/".join(parts)


def _discovery(path: str) -> Json | None:
    groups = sorted({(kind.group, kind.version) for kind in KINDS.values() if kind.group})
    if path == "/api":
        return {"versions": ["v1"]}
    if path == "/apis":
        versions = [(group, {"groupVersion": f"{group}/{version}", "version": version}) for group, version in groups]
        return {"groups": [{"name": group, "versions": [each], "preferredVersion": each} for group, each in versions]}
    for group, version in [("", "v1"), *groups]:
        if path == (f"/apis/{group}/{version}" if group else "/api/v1"):
            kinds = [kind for kind in KINDS.values() if (kind.group, kind.version) == (group, version)]
            verbs = ["get", "list", "watch", "patch"]
            return {
                "resources": [
                    {"name": kind.plural, "singularName": "", "kind": kind.kind, "namespaced": kind.namespaced,
                     "verbs": verbs}
                    for kind in kinds
                ]
            }  # fmt: skip
    return None


LEASE = KINDS["Lease"].path("devservers-system", "devservers-operator")


def run(
    objects: Objects,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    test: Callable[[HttpApi, Operator, asyncio.Task[int]], Awaitable[None]],
) -> None:
    async def main() -> None:
        async with HttpApi(objects.respond) as api:
            path = kubeconfig.write(
                tmp_path / "config", kubeconfig.document("one", {"server": api.url}, {"token": "x"})
            )
            monkeypatch.setenv("KUBECONFIG", str(path))
            settings = Settings(identity="one", health_port=0, metrics_port=0, drain_seconds=1.0, workers=2)
            operator = Operator(settings)
            running = asyncio.create_task(operator.run())
            try:
                await test(api, operator, running)
            finally:
                running.cancel()
                await asyncio.wait([running])

    asyncio.run(asyncio.wait_for(main(), 40))


async def until(condition: Callable[[], bool], running: asyncio.Task[int]) -> None:
    while not condition():
        assert not running.done(), running
        await asyncio.sleep(0.02)


def reconciled(operator: Operator) -> bool:
    text = operator.render()
    return b"devservers_leader 1.0" in text and b"devservers_initial_reconcile_seconds 0.0\n" not in text


def test_run_leads_reconciles_and_releases_the_lease_on_sigterm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    objects = Objects()
    objects.put("DevServerUser", "ann", spec={"username": "ann"})

    async def check(api: HttpApi, operator: Operator, running: asyncio.Task[int]) -> None:
        await until(lambda: reconciled(operator), running)
        assert objects.stored[LEASE]["spec"]["holderIdentity"] == "one"
        assert objects.stored["/api/v1/namespaces/dev-ann"]["metadata"]["labels"]["devservers.io/user"] == "ann"
        status = objects.stored[KINDS["DevServerUser"].path("", "ann")]["status"]
        assert (status["uid"], status["phase"]) == (20000, "Active")
        assert operator.problems() == []
        await until(lambda: any("watch" in request.query for request in api.requests), running)
        signal.raise_signal(signal.SIGTERM)
        assert await running == 0
        assert objects.stored[LEASE]["spec"]["holderIdentity"] == ""
        assert b"devservers_leader 0.0" in operator.render()

    run(objects, monkeypatch, tmp_path, check)


def test_run_as_standby_writes_nothing_and_stops_on_sigterm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    objects = Objects()
    held = {"holderIdentity": "other", "leaseDurationSeconds": 15}
    objects.put("Lease", "devservers-operator", "devservers-system", spec=held)

    async def check(api: HttpApi, operator: Operator, running: asyncio.Task[int]) -> None:
        await until(lambda: len(api.requests) >= 1, running)
        signal.raise_signal(signal.SIGTERM)
        assert await running == 0
        assert set(api.methods()) == {"GET"}
        assert objects.stored[LEASE]["spec"]["holderIdentity"] == "other"

    run(objects, monkeypatch, tmp_path, check)


def test_run_with_queueing_and_without_kueue_leads_and_stops_when_kueue_comes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The next process watches Kueue's kinds from the start."""
    monkeypatch.setenv("DEVSERVERS_QUEUEING", "true")
    monkeypatch.setattr("devservers.runtime.operator.KUEUE_SECONDS", 0.1)
    objects, kueue_is_there = Objects(), list[bool]()
    respond = objects.respond

    def without_kueue(request: Request) -> Answer:
        if "kueue" in request.path and not kueue_is_there:
            return 404, {"reason": "NotFound"}
        return respond(request)

    objects.respond = without_kueue  # type: ignore[method-assign]

    async def check(api: HttpApi, operator: Operator, running: asyncio.Task[int]) -> None:
        await until(lambda: reconciled(operator), running)
        kueue_is_there.append(True)
        assert await running == 0

    run(objects, monkeypatch, tmp_path, check)
