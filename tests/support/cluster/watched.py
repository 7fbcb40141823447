"""A copy of all objects of one kind for a stand-in, which looks at them several times a second.

Invariant: it is kept by a list and a watch. The lists of stand-ins were half of the API server's work in this tier.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from devservers_core.client.api import ApiClient
from devservers_core.errors import ApiError, UnreachableError
from devservers_core.types import Json
from tests.support.cluster.client import Client, path_of

_WATCH_SECONDS = 20
"""A thread whose block has ended notices it within that time."""


class Watched:
    """The objects of a kind in all namespaces, as the API server last sent them while the block runs."""

    def __init__(self, client: Client, api_version: str, kind: str, **query: str) -> None:
        """`query` such as labelSelector="a=b"."""
        self._client, self._path, self._query = client, path_of(api_version, kind), query
        self._objects: dict[str, Json] = {}
        self._lock, self._over = threading.Lock(), threading.Event()

    def __enter__(self) -> Watched:
        threading.Thread(target=self._run, daemon=True, name=f"watch {self._path}").start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._over.set()

    def objects(self) -> list[Json]:
        """All of them; none before the first list."""
        with self._lock:
            return list(self._objects.values())

    def _run(self) -> None:
        api = self._client.accepting("application/json")
        while not self._over.is_set():
            # Whatever ends a watch: a busy machine's silence, a version that is too old, an API server that is gone.
            with suppress(ApiError, UnreachableError, OSError, ValueError):
                self._watch(api, self._list(api))
            self._over.wait(0.1)
        api.close()

    def _list(self, api: ApiClient) -> str:
        answer = api.request("GET", self._path, query=self._query)
        with self._lock:
            self._objects = {each["metadata"]["uid"]: each for each in answer["items"]}
        return str(answer["metadata"]["resourceVersion"])

    def _watch(self, api: ApiClient, version: str) -> None:
        while not self._over.is_set():
            query = {**self._query, "resourceVersion": version, "timeoutSeconds": str(_WATCH_SECONDS)}
            for event in api.watch(self._path, query | {"allowWatchBookmarks": "true"}, _WATCH_SECONDS + 10):
                item = event["object"]
                if event["type"] == "ERROR":
                    raise ValueError(str(item.get("message")))
                version = str(item["metadata"]["resourceVersion"])
                self._keep(event["type"], item)
                if self._over.is_set():
                    break

    def _keep(self, change: str, item: Json) -> None:
        with self._lock:
            if change == "DELETED":
                self._objects.pop(item["metadata"]["uid"], None)
            elif change != "BOOKMARK":
                self._objects[item["metadata"]["uid"]] = item
