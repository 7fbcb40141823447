"""A stand-in's copy of a kind, kept by a list and a watch of an API server that a test scripts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from devservers_core.client import kubeconfig
from devservers_core.client.api import ApiClient
from tests.support.cluster.client import Client
from tests.support.cluster.watched import Watched
from tests.support.wait import eventually


def pod(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}}


def listed(version: int, *items: dict[str, Any]) -> dict[str, Any]:
    return {"items": list(items), "metadata": {"resourceVersion": str(version)}}


class FakeApi:
    """Answers lists and watches in turn; the last of each again and again."""

    def __init__(self) -> None:
        self.lists = [listed(1, pod("ann", 1)), listed(9, pod("new", 9))]
        self.watches: list[list[dict[str, Any]]] = [
            [{"type": "ADDED", "object": pod("bob", 2)}, {"type": "DELETED", "object": pod("ann", 3)}],
            [{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "5"}}}],
        ]
        self.asked: list[dict[str, list[str]]] = []
        self.go_on = threading.Event()

    def answer(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        self.asked.append(query)
        if "watch" not in query:
            return [self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]]
        if self.watches:
            return self.watches.pop(0)
        self.go_on.wait(20)
        return [{"type": "ERROR", "object": {"message": "too old resource version"}}]


class FakeClient(Client):
    """Its requests go to the scripted API server."""

    def __init__(self, url: str) -> None:
        super().__init__(url, Path(), Path(), Path())

    def accepting(self, form: str) -> ApiClient:
        return ApiClient(kubeconfig.Target(self.url, "x", "test", None), {}, accept=form)


@pytest.fixture
def api() -> Iterator[tuple[FakeApi, Client]]:
    fake = FakeApi()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            lines = [json.dumps(each).encode() + b"\n" for each in fake.answer(parse_qs(urlsplit(self.path).query))]
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(sum(map(len, lines))))
            self.end_headers()
            self.wfile.writelines(lines)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield fake, FakeClient(f"http://127.0.0.1:{server.server_port}")
    fake.go_on.set()
    server.shutdown()


def names(watched: Watched) -> list[str]:
    return [each["metadata"]["name"] for each in watched.objects()]


def test_watched_follows_the_watch_and_lists_anew_after_an_error(api: tuple[FakeApi, Client]) -> None:
    fake, client = api
    with Watched(client, "v1", "Pod", labelSelector="a=b") as watched:
        eventually(lambda: names(watched) == ["bob"], "what the watch said", 10)
        eventually(lambda: len(fake.asked) == 4, "a third watch", 10)
        assert [each["labelSelector"] for each in fake.asked] == [["a=b"]] * 4
        assert [each["resourceVersion"] for each in fake.asked[1:]] == [["1"], ["3"], ["5"]]
        fake.go_on.set()
        eventually(lambda: names(watched) == ["new"], "a new list", 10)


def test_watched_whose_block_ended_ends_its_thread(api: tuple[FakeApi, Client]) -> None:
    fake, client = api
    with Watched(client, "v1", "Pod"):
        eventually(lambda: len(fake.asked) == 4, "a watch", 10)
    fake.go_on.set()
    eventually(lambda: "watch /api/v1/pods" not in [each.name for each in threading.enumerate()], "its end", 10)
