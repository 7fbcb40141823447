"""A fake Kubernetes API server in memory, over HTTP, for tests of devctl.

It stores what it is given and checks nothing: what Kubernetes accepts and refuses is tested in tests/cluster.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from devservers_core.types import Json

CREATED = "2026-01-01T00:00:00Z"


class ApiServer:
    """Objects by path; a path is a list if it ends in a plural, and an object or nobody otherwise."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.answers: dict[str, Callable[[Json], Json]] = {}
        """What a POST to a path returns instead of being stored: reviews."""
        self.refusals: dict[tuple[str, str], list[tuple[int, str]]] = {}
        """Status and message by method and path; each is used once, the last for ever."""
        self.before: dict[tuple[str, str], list[Callable[[], object]]] = {}
        """What happens before a request is served, by method and path; each is used once: somebody else's writes."""
        self.after: dict[tuple[str, str], Callable[[], object]] = {}
        """What follows on each request that was carried out: an operator."""
        self.writes: list[tuple[str, str, Json | None]] = []
        """Method, path and body of each request that was not a GET, refused ones included."""
        self.queries: list[dict[str, str]] = []
        """Query of each of these writes."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one segment: Nagle's algorithm would hold the second one for 40 ms

            def log_message(self, format: str, *args: Any) -> None:
                """Silence: the base class writes to stderr, where the test reads devctl's messages."""

            def _serve(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                status, found = outer._answer(self.command, self.path, body)
                data = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                self._serve()

            def do_POST(self) -> None:
                self._serve()

            def do_PATCH(self) -> None:
                self._serve()

            def do_PUT(self) -> None:
                self._serve()

            def do_DELETE(self) -> None:
                self._serve()

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.005,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def close(self) -> None:
        """Stop answering."""
        self._http.shutdown()
        self._http.server_close()

    def kubeconfig(self, folder: Path) -> Path:
        """A kubeconfig of somebody who may do what `refusals` leaves them."""
        path = folder / "kubeconfig"
        path.write_text(
            "current-context: test\n"
            f"clusters: [{{name: c, cluster: {{server: '{self.url}'}}}}]\n"
            "users: [{name: u, user: {token: t}}]\n"
            "contexts: [{name: test, context: {cluster: c, user: u}}]\n"
        )
        return path

    def put(self, path: str, **manifest: Any) -> Json:
        """Store an object as somebody else's write."""
        stored = copy.deepcopy(manifest)
        metadata = {"name": path.rsplit("/", 1)[1], "creationTimestamp": CREATED, "resourceVersion": "1"}
        stored["metadata"] = metadata | stored.get("metadata", {})
        self.objects[path] = stored
        return stored

    def refuse(self, method: str, path: str, *answers: tuple[int, str]) -> None:
        """Refuse the next requests, the last answer for ever."""
        self.refusals[(method, path)] = list(answers)

    def _answer(self, method: str, target: str, body: Json | None) -> tuple[int, Json | bytes]:
        url = urlsplit(target)
        path, query = url.path, dict(parse_qsl(url.query))
        if method != "GET":
            self.writes.append((method, path, body))
            self.queries.append(query)
        if others := self.before.get((method, path)):
            others.pop(0)()
        status, answer = self._serve(method, path, query, body)
        if status < 400 and (method, path) in self.after:
            answer = copy.deepcopy(answer)  # as it was before anything followed
            self.after[(method, path)]()
        return status, answer

    def _serve(self, method: str, path: str, query: dict[str, str], body: Json | None) -> tuple[int, Json | bytes]:
        if refusals := self.refusals.get((method, path)):
            status, message = refusals[0] if len(refusals) == 1 else refusals.pop(0)
            if status >= 400:
                return status, _refusal(status, message, path)
        if method == "GET" and path not in self.objects:
            if not _is_list(path):
                return 404, _refusal(404, f"{path} not found", path)
            items = [copy.deepcopy(each) for place, each in self.objects.items() if place.rpartition("/")[0] == path]
            if "watch" in query:
                return 200, b"".join(json.dumps({"type": "ADDED", "object": each}).encode() + b"\n" for each in items)
            return 200, {"items": items}
        if method == "POST":
            return self._create(path, query, body or {})
        if path not in self.objects:
            return 404, _refusal(404, f"{path} not found", path)
        read = ((body or {}).get("metadata") or {}).get("resourceVersion")
        if method in ("PATCH", "PUT") and read not in (None, self.objects[path]["metadata"].get("resourceVersion")):
            return 409, _refusal(409, "the object has been modified", path) | {"reason": "Conflict"}
        if method == "PATCH":
            self.objects[path] = _merged(self.objects[path], body or {})
        counted = ((body or {}).get("preconditions") or {}) if method == "DELETE" else {}
        if any(self.objects[path]["metadata"].get(key) != value for key, value in counted.items()):
            return 409, _refusal(409, "the object has been modified", path) | {"reason": "Conflict"}
        if method == "PUT":
            self.objects[path] = body or {}
        if method == "DELETE":
            return 200, self.objects.pop(path)
        return 200, self.objects[path]

    def _create(self, path: str, query: dict[str, str], body: Json) -> tuple[int, Json]:
        if path in self.answers:
            return 201, self.answers[path](body)
        place = f"{path}/{body['metadata']['name']}"
        if place in self.objects:
            return 409, _refusal(409, f"{place} already exists", place)
        made = {**body, "metadata": {"creationTimestamp": CREATED, "managedFields": [{"manager": "devctl"}]}}
        made["metadata"] |= body["metadata"]
        if "dryRun" not in query:
            self.objects[place] = made
        return 201, made


def _is_list(path: str) -> bool:
    """Whether a path is a collection's: the names of objects in these tests don't end in s."""
    return path.endswith("s")


def _refusal(status: int, message: str, path: str) -> Json:
    name = path.rsplit("/", 1)[1]
    reason = {403: "Forbidden", 404: "NotFound", 409: "AlreadyExists", 422: "Invalid"}.get(status, "InternalError")
    return {"kind": "Status", "code": status, "reason": reason, "message": message, "details": {"name": name}}


def _merged(value: Any, change: Any) -> Any:
    """JSON merge patch (RFC 7396)."""
    if not isinstance(change, dict):
        return change
    found = dict(value) if isinstance(value, dict) else {}
    for key, each in change.items():
        if each is None:
            found.pop(key, None)
        else:
            found[key] = _merged(found.get(key), each)
    return found
