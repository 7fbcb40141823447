"""KubeClient against an HTTP server that speaks the API server's JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from devservers.runtime.kube_client import KubeClient
from devservers_core.errors import ApiError
from devservers_core.types import Json
from tests.support.operator.http_api import Answer, HttpApi, Request

CONFIG_MAP: Json = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7"},
    "data": {},
}
WRITES: dict[str, Callable[[KubeClient], Awaitable[Any]]] = {
    "POST": lambda client: client.create(CONFIG_MAP),
    "PUT": lambda client: client.replace(CONFIG_MAP),
    "PATCH": lambda client: client.apply(CONFIG_MAP),
    "DELETE": lambda client: client.delete("ConfigMap", "n", "a", "u"),
}


def run(
    respond: Callable[[Request], Answer], test: Callable[[HttpApi, KubeClient], Awaitable[None]], **more: Any
) -> None:
    async def main() -> None:
        async with HttpApi(respond) as api:
            client = KubeClient(api.configuration(), **more)
            try:
                await test(api, client)
            finally:
                await client.close()

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize("method", WRITES)
def test_write_on_a_kept_connection_that_breaks_is_sent_once(method: str) -> None:
    """The API server may have carried it out; the reconcile reads again and decides anew."""

    def respond(request: Request) -> Answer:
        return (200, CONFIG_MAP) if request.method == "GET" else None

    async def check(api: HttpApi, client: KubeClient) -> None:
        await client.get("ConfigMap", "n", "a")
        with pytest.raises(ApiError) as error:
            await WRITES[method](client)
        assert (error.value.status, error.value.reason) == (0, "Unreachable")
        assert api.methods() == ["GET", method]
        assert api.connections == 1

    run(respond, check)


@pytest.mark.parametrize("method", ["GET", *WRITES])
def test_request_that_times_out_is_sent_once(method: str) -> None:
    async def check(api: HttpApi, client: KubeClient) -> None:
        async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.append(await reader.read(10))
            await asyncio.sleep(1)
            writer.close()

        connections: list[bytes] = []
        async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
            client.configuration.host = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            with pytest.raises(ApiError) as error:
                await (WRITES.get(method) or (lambda client: client.get("ConfigMap", "n", "a")))(client)
            assert error.value.status == 0
        assert len(connections) == 1

    run(lambda _: None, check, timeout=0.3)


def test_read_on_a_kept_connection_that_breaks_is_sent_again() -> None:
    answers: list[Answer] = [(200, CONFIG_MAP), None, (200, CONFIG_MAP)]

    async def check(api: HttpApi, client: KubeClient) -> None:
        for _ in range(2):
            assert (await client.get("ConfigMap", "n", "a"))["metadata"]["uid"] == "u"
        assert api.methods() == ["GET"] * 3

    run(lambda _: answers.pop(0), check)


def test_list_at_reads_every_chunk_and_returns_the_version_of_the_first() -> None:
    def respond(request: Request) -> Answer:
        if "continue" in request.query:
            return 200, {"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "b"}}]}
        return 200, {"metadata": {"resourceVersion": "8", "continue": "more"}, "items": [{"metadata": {"name": "a"}}]}

    async def check(api: HttpApi, client: KubeClient) -> None:
        objects, version = await client.list_at("Pod", "dev-ann", "x=y")
        assert [(each["kind"], each["apiVersion"], each["metadata"]["name"]) for each in objects] == [
            ("Pod", "v1", "a"),
            ("Pod", "v1", "b"),
        ]
        assert version == 8
        assert [request.path for request in api.requests] == ["/api/v1/namespaces/dev-ann/pods"] * 2
        assert [request.query for request in api.requests] == [
            {"limit": "500", "labelSelector": "x=y"},
            {"limit": "500", "labelSelector": "x=y", "continue": "more"},
        ]

    run(respond, check)


def test_events_selects_warnings_about_one_object_or_a_kind() -> None:
    async def check(api: HttpApi, client: KubeClient) -> None:
        assert await client.events("dev-ann", "Pod", "mydev-1") == [{"reason": "x"}]
        await client.events("dev-ann", "ReplicaSet")
        assert [request.query["fieldSelector"] for request in api.requests] == [
            "involvedObject.kind=Pod,type=Warning,involvedObject.name=mydev-1",
            "involvedObject.kind=ReplicaSet,type=Warning",
        ]

    run(lambda _: (200, {"items": [{"reason": "x"}]}), check)


def test_apply_takes_over_fields_as_field_manager_devservers() -> None:
    async def check(api: HttpApi, client: KubeClient) -> None:
        await client.apply(CONFIG_MAP)
        await client.apply_status(CONFIG_MAP)
        await client.scale("Deployment", "n", "a", 0)
        apply, status, scale = api.requests
        assert apply.query == {"fieldManager": "devservers", "force": "true"}
        assert apply.headers["content-type"] == "application/apply-patch+yaml"
        assert (apply.path, status.path) == (
            "/api/v1/namespaces/n/configmaps/a",
            "/api/v1/namespaces/n/configmaps/a/status",
        )
        assert (scale.path, scale.body) == ("/apis/apps/v1/namespaces/n/deployments/a/scale", {"spec": {"replicas": 0}})

    run(lambda _: (200, CONFIG_MAP), check)


def test_delete_names_the_uid_and_takes_an_absent_object_for_deleted() -> None:
    async def check(api: HttpApi, client: KubeClient) -> None:
        await client.delete("ConfigMap", "n", "a", "u")
        assert api.requests[0].body == {"propagationPolicy": "Background", "preconditions": {"uid": "u"}}

    run(lambda _: (404, {"reason": "NotFound"}), check)


def test_refusal_becomes_an_api_error_with_reason_and_one_line() -> None:
    async def check(api: HttpApi, client: KubeClient) -> None:
        with pytest.raises(ApiError) as error:
            await client.create(CONFIG_MAP)
        assert (error.value.status, error.value.reason, error.value.message) == (422, "Invalid", "two lines")

    run(lambda _: (422, {"reason": "Invalid", "message": "two\nlines"}), check)


@pytest.mark.parametrize("body", ["not json", "[]"])
def test_refusal_that_is_no_status_object_becomes_an_api_error(body: str) -> None:
    async def check(api: HttpApi, client: KubeClient) -> None:
        with pytest.raises(ApiError) as error:
            await client.get("ConfigMap", "n", "a")
        assert (error.value.status, error.value.reason, error.value.message) == (503, "Error", "")

    run(lambda _: (503, body), check)


@pytest.mark.parametrize(("kind", "quoted"), [("Secret", False), ("ConfigMap", True)])
def test_refusal_of_a_secret_keeps_no_text_of_the_api_server(kind: str, quoted: bool) -> None:
    async def check(api: HttpApi, client: KubeClient) -> None:
        with pytest.raises(ApiError) as error:
            await client.get(kind, "n", "a")
        assert ("hunter2" in str(error.value)) is quoted

    run(lambda _: (422, {"reason": "Invalid", "message": "data: Invalid value: hunter2"}), check)


def test_guard_refuses_writes_before_they_are_sent_and_lets_reads_pass() -> None:
    def refuse() -> None:
        raise RuntimeError("not leading")

    async def check(api: HttpApi, client: KubeClient) -> None:
        await client.get("ConfigMap", "n", "a")
        for write in WRITES.values():
            with pytest.raises(RuntimeError, match="not leading"):
                await write(client)
        assert api.methods() == ["GET"]

    run(lambda _: (200, CONFIG_MAP), check, guard=refuse)


def test_written_is_told_of_successful_writes_only() -> None:
    written: list[tuple[str, str]] = []

    async def check(api: HttpApi, client: KubeClient) -> None:
        await client.get("ConfigMap", "n", "a")
        for write in WRITES.values():
            await write(client)
        assert written == [("ConfigMap", method) for method in WRITES]
        with pytest.raises(ApiError):
            await client.create({**CONFIG_MAP, "kind": "Lease"})
        assert len(written) == 4

    def respond(request: Request) -> Answer:
        return (409, {}) if "leases" in request.path else (200, CONFIG_MAP)

    run(respond, check, written=lambda kind, method: written.append((kind, method)))


def test_unreachable_server_is_an_api_error_of_status_0() -> None:
    async def check(api: HttpApi, client: KubeClient) -> None:
        client.configuration.host = "http://127.0.0.1:1"
        for call in (client.get("ConfigMap", "n", "a"), client.create(CONFIG_MAP)):
            with pytest.raises(ApiError) as error:
                await call
            assert (error.value.status, error.value.reason) == (0, "Unreachable")

    run(lambda _: None, check)
