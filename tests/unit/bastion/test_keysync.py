"""keysync with an API server that loses its accounts: an empty list is refused until somebody is seen to go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from bastion.accounts.__main__ import SETTLE
from bastion.accounts.store import read_state
from bastion.paths import Paths
from devservers_core.client import kubeconfig
from tests.support.wait import eventually

ANN = {"metadata": {"name": "ann"}, "spec": {"username": "ann", "sshPublicKeys": []}, "status": {"uid": 20000}}
LOST = {"type": "ERROR", "object": {"message": "too old resource version"}}


class Api(ThreadingHTTPServer):
    """Lists what it is told to, and watches that end or tell when the test says so."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.items: dict[str, list[Any]] = {"devserverusers": [ANN], "devservers": []}
        self.events: dict[str, Queue[Any]] = {kind: Queue() for kind in self.items}
        self.lists = dict.fromkeys(self.items, 0)
        self.servers_listed = threading.Event()
        self.servers_listed.set()


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        kind = self.path.partition("?")[0].rpartition("/")[2]
        self.send_response(200)
        self.end_headers()
        if "watch=true" not in self.path:
            found = {"items": self.server.items[kind], "metadata": {"resourceVersion": "1"}}
            if kind == "devservers":
                self.server.servers_listed.wait()
            self.wfile.write(json.dumps(found).encode())
            self.server.lists[kind] += 1
            return
        while event := self.server.events[kind].get():
            self.wfile.write(json.dumps(event).encode() + b"\n")
            self.wfile.flush()
            if event is LOST:
                return

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.servers_listed.set()
        for queue in found.events.values():
            queue.put(None)
        found.shutdown()


@pytest.fixture
def paths(api: Api, tmp_path: Path) -> Paths:
    """Where a keysync of this API server puts what is in force."""
    found = Paths(tmp_path)
    found.accounts.mkdir(parents=True)
    cluster = {"server": f"http://127.0.0.1:{api.server_port}"}
    kubeconfig.write(tmp_path / "config", kubeconfig.document("x", cluster, {}))
    return found


@contextmanager
def _keysync(paths: Paths) -> Iterator[None]:
    command = [sys.executable, "-m", "bastion.accounts", "--kubeconfig", str(paths.root / "config")]
    running = subprocess.Popen(command, env={**os.environ, "BASTION_ROOT": str(paths.root)})
    try:
        yield
    finally:
        running.kill()
        running.wait()


def _until(paths: Paths, accounts: int, refused: bool) -> int:
    """Waits for this state; its generation."""

    def seen() -> tuple[int, bool] | None:
        state = read_state(paths)
        return (state.accounts, bool(state.refused)) if state else None

    eventually(lambda: seen() == (accounts, refused), f"{accounts} accounts, refused {refused}", 20, report=seen)
    state = read_state(paths)
    assert state
    return state.generation


def test_keysync_after_an_empty_list_refuses_it_whatever_else_is_heard(api: Api, paths: Paths) -> None:
    with _keysync(paths):
        first = _until(paths, 1, False)
        api.items["devserverusers"] = []
        api.events["devserverusers"].put(LOST)
        _until(paths, 1, True)
        # Of the other kind: an event, then a list.
        added = {"type": "ADDED", "object": {"metadata": {"name": "mydev", "namespace": "dev-ann"}}}
        api.events["devservers"].put(added)
        api.events["devservers"].put(LOST)
        eventually(lambda: api.lists["devservers"] == 2, "a second list", 20, report=lambda: api.lists)
        api.events["devserverusers"].put({"type": "ADDED", "object": ANN})
        # The very same: in between nothing else was in force.
        assert _until(paths, 1, False) == first
        api.events["devserverusers"].put({"type": "DELETED", "object": ANN})
        _until(paths, 0, False)


def test_keysync_restarted_refuses_an_empty_list_although_servers_come_late(api: Api, paths: Paths) -> None:
    with _keysync(paths):
        first = _until(paths, 1, False)
    api.items["devserverusers"] = []
    api.servers_listed.clear()
    with _keysync(paths):
        eventually(lambda: api.lists["devserverusers"] == 2, "a second list", 20, report=lambda: api.lists)
        time.sleep(4 * SETTLE)  # its loop has come by and found only one of the two
        api.servers_listed.set()
        assert _until(paths, 1, True) == first
