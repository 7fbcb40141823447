"""A reflector goes on whatever the API server says, with a real server that says it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from devservers_core.client import kubeconfig
from devservers_core.client.api import ApiClient
from devservers_core.client.watch import Reflector

PAGES: list[dict[str, Any]] = [
    {"items": [None], "metadata": {"resourceVersion": "1"}},
    {"items": [{"metadata": {"name": "ann"}}], "metadata": {"resourceVersion": "2"}},
]


class _Api(BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self) -> None:
        page = PAGES[min(_Api.asked, len(PAGES) - 1)]
        _Api.asked += 1
        text = json.dumps(page).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def test_reflector_after_an_unreadable_list_lists_again(caplog: pytest.LogCaptureFixture) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    target = kubeconfig.Target(f"http://127.0.0.1:{server.server_port}", "x", "test", None)
    listed = threading.Event()
    reflector = Reflector(ApiClient(target, {}), "/things", lambda _: listed.set())
    reflector.start()
    try:
        assert listed.wait(10), caplog.text
        assert reflector.synced
        assert [each["metadata"]["name"] for each in reflector.objects()] == ["ann"]
        assert caplog.messages[0].startswith("no word of things from the cluster, trying again: ")
    finally:
        server.shutdown()
