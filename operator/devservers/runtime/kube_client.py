"""The operator's asynchronous client of the API server: dictionaries in and out.

Invariant: a write is sent only if the guard (the Lease) says that this process leads, and it is sent once.

It uses the raw request path of kubernetes.aio. The client's model classes are never used: building them costs several
times what the request does.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from devservers.runtime.kinds import KINDS
from devservers_core.client.retry import SAFE_METHODS
from devservers_core.errors import ApiError
from devservers_core.names import FIELD_MANAGER, OPERATOR
from devservers_core.types import Json

_JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"

Query = list[tuple[str, str]]
Objects = list[Json]  # inside KubeClient, `list` is a method


class KubeClient:
    """Requests to one API server. Every method raises ApiError; an unreachable server has status 0."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        timeout: float = 30.0,
        guard: Callable[[], None] | None = None,
        written: Callable[[str, str], None] | None = None,
        connections: int = 64,
    ) -> None:
        """Takes what is called before and after each write, and how many connections are open at once (0: any number).

        `guard` raises when this process must not write any more; `written` gets the kind and the HTTP method.
        """
        configuration.connection_pool_maxsize = connections
        configuration.client_session_kwargs = {"middlewares": (_send_writes_once,)}
        self.configuration = configuration
        self._guard = guard
        self._written = written
        self._timeout = timeout
        self._client = ApiClient(configuration)
        self._client.user_agent = OPERATOR

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.close()  # type: ignore[no-untyped-call]

    async def get(self, kind: str, namespace: str, name: str) -> Json:
        """Reads one object; an absent one is ApiError 404."""
        return await self._call("GET", kind, KINDS[kind].path(namespace, name))

    async def list(self, kind: str, namespace: str = "", selector: str = "") -> list[Json]:
        """Lists objects of a kind in one namespace, or in all of them."""
        objects, _ = await self.list_at(kind, namespace, selector)
        return objects

    async def list_at(self, kind: str, namespace: str = "", selector: str = "") -> tuple[Objects, int]:
        """Lists objects in chunks; also returns the resourceVersion of the first chunk.

        It is a consistent read: a list from an old watch cache could miss objects that exist.
        """
        objects: Objects = []
        token, version = "", 0
        while True:
            query: Query = [("limit", "500")]
            if selector:
                query.append(("labelSelector", selector))
            if token:
                query.append(("continue", token))
            page = await self._call("GET", kind, KINDS[kind].path(namespace), query)
            text = str(page["metadata"].get("resourceVersion", "0"))
            version = version or (int(text) if text.isdigit() else 0)
            for item in page["items"]:
                item["apiVersion"], item["kind"] = KINDS[kind].api_version, kind
                objects.append(item)
            token = page["metadata"].get("continue", "")
            if not token:
                return objects, version

    async def list_metadata(self, kind: str, namespace: str, fields: str) -> tuple[Objects, str]:
        """Lists the metadata of objects that a field selector names; also returns the resourceVersion."""
        query = [("fieldSelector", fields)]
        page = await self._call("GET", kind, KINDS[kind].path(namespace), query, accept=_METADATA_LIST)
        if page.get("kind") != "PartialObjectMetadataList":
            raise ApiError(0, "Unsupported", "the API server sent whole objects instead of their metadata")
        return list(page.get("items") or ()), str(page["metadata"].get("resourceVersion", "0"))

    async def watch_metadata(
        self, kind: str, namespace: str, fields: str, version: str, seconds: float
    ) -> AsyncIterator[Json]:
        """The changes of that metadata since a resourceVersion, for `seconds` at most."""
        query = [
            ("watch", "true"),
            ("fieldSelector", fields),
            ("resourceVersion", version),
            ("timeoutSeconds", str(int(seconds) or 1)),
        ]
        request = await self._client.param_serialize(
            "GET",
            KINDS[kind].path(namespace),
            query_params=query,
            header_params={"Accept": _METADATA},
            auth_settings=["BearerToken"],
        )
        try:
            answer = await self._client.call_api(*request, _request_timeout=seconds + self._timeout)
            stream: aiohttp.ClientResponse = answer.response
            try:
                if stream.status >= 300:
                    raise _refusal(stream.status, await stream.read(), secret=kind == "Secret")
                while line := await stream.content.readline():
                    yield json.loads(line)
            finally:
                stream.close()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ApiError(0, "Unreachable", f"{type(error).__name__}: {error}") from None

    async def events(self, namespace: str, kind: str, name: str = "") -> Objects:
        """The newest Warning Events about objects of a kind, or about one of them when name is given."""
        selector = f"involvedObject.kind={kind},type=Warning" + (f",involvedObject.name={name}" if name else "")
        query = [("fieldSelector", selector), ("limit", "500")]
        answer = await self._call("GET", "Event", f"/api/v1/namespaces/{namespace}/events", query)
        return list(answer["items"])

    async def create(self, obj: Json) -> Json:
        """Creates an object; one that exists already is ApiError 409."""
        kind, path, _ = _address(obj)
        return await self._call("POST", kind, path, [("fieldManager", FIELD_MANAGER)], obj, _JSON)

    async def replace(self, obj: Json) -> Json:
        """Replaces a whole object.

        Its resourceVersion is the optimistic lock: ApiError 409 when somebody else wrote in between.
        """
        kind, path, name = _address(obj)
        return await self._call("PUT", kind, f"{path}/{name}", [("fieldManager", FIELD_MANAGER)], obj, _JSON)

    async def apply(self, obj: Json) -> Json:
        """Server-side apply as field manager `devservers`, taking over fields that others changed."""
        return await self._apply(obj, "")

    async def apply_status(self, obj: Json) -> Json:
        """Server-side apply of the status subresource."""
        return await self._apply(obj, "/status")

    async def patch(self, obj: Json) -> Json:
        """Merge patch of the fields in obj; 409 when its resourceVersion is old or its uid another."""
        kind, path, name = _address(obj)
        return await self._call("PATCH", kind, f"{path}/{name}", [("fieldManager", FIELD_MANAGER)], obj, _MERGE)

    async def scale(self, kind: str, namespace: str, name: str, replicas: int) -> None:
        """Sets the replicas through the scale subresource, which is a right of its own in RBAC."""
        path = KINDS[kind].path(namespace, name) + "/scale"
        await self._call("PATCH", kind, path, [], {"spec": {"replicas": replicas}}, _MERGE)

    async def delete(self, kind: str, namespace: str, name: str, uid: str = "") -> None:
        """Deletes in the background, with uid only that very object; an absent object counts as deleted."""
        body: Json = {"propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            await self._call("DELETE", kind, KINDS[kind].path(namespace, name), [], body, _JSON)
        except ApiError as error:
            if not error.not_found:
                raise

    async def _apply(self, obj: Json, subresource: str) -> Json:
        kind, path, name = _address(obj)
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        return await self._call("PATCH", kind, f"{path}/{name}{subresource}", query, obj, _APPLY)

    async def _call(
        self,
        method: str,
        kind: str,
        path: str,
        query: Query | None = None,
        body: Json | None = None,
        media: str = "",
        accept: str = _JSON,
    ) -> Json:
        if method != "GET" and self._guard is not None:
            self._guard()
        headers = {"Accept": accept} | ({"Content-Type": media} if media else {})
        try:
            request = await self._client.param_serialize(
                method,
                path,
                query_params=query or None,
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await self._client.call_api(*request, _request_timeout=self._timeout)
            raw: bytes = await response.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, "Unreachable", f"{type(error).__name__}: {error}") from None
        if response.status >= 300:
            raise _refusal(response.status, raw, secret=kind == "Secret")
        if method != "GET" and self._written is not None:
            self._written(kind, method)
        answer: Json = json.loads(raw)
        return answer


async def _send_writes_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """A client middleware that keeps aiohttp from sending PUT and DELETE twice.

    aiohttp repeats them when their connection breaks, although the API server may have carried out the first one. The
    second would be refused with 409 by the resourceVersion that the first one changed, and a renewed Lease would look
    like a lost one.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        if request.method in SAFE_METHODS or isinstance(error, aiohttp.ClientConnectorError):
            raise
        # aiohttp repeats a request after these two errors only.
        raise aiohttp.ClientConnectionError(f"{type(error).__name__}: {error}") from error


def _address(obj: Json) -> tuple[str, str, str]:
    kind, metadata = obj["kind"], obj["metadata"]
    return kind, KINDS[kind].path(metadata.get("namespace", "")), metadata.get("name", "")


def _refusal(status: int, raw: bytes, *, secret: bool) -> ApiError:
    try:
        answer: Any = json.loads(raw)
    except ValueError:
        answer = {}
    if not isinstance(answer, dict):
        answer = {}
    message = "" if secret else " ".join(str(answer.get("message", "")).split())[:600]
    return ApiError(status, str(answer.get("reason", "") or "Error"), message)
