"""The HTTPS client of the Kubernetes API, over one kept-alive connection.

Invariant: dictionaries in and out; a refusal is an ApiError, no answer is an UnreachableError, and nothing else
escapes. A request that the API server may have carried out is never sent again: see retry.py.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from devservers_core.client import credentials
from devservers_core.client.kubeconfig import Target
from devservers_core.client.retry import SAFE_METHODS, is_closed, may_repeat
from devservers_core.errors import ApiError, UnreachableError
from devservers_core.types import Json

if TYPE_CHECKING:
    import socket
    import ssl

MERGE_PATCH = "application/merge-patch+json"
PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
TIMEOUT = 20.0  # seconds


class ApiClient:
    """A client of one API server with one identity. Not for several threads."""

    def __init__(
        self,
        target: Target,
        environ: Mapping[str, str] | None = None,
        *,
        accept: str = "application/json",
        timeout: float = TIMEOUT,
        user_agent: str = "devservers",
    ) -> None:
        """`accept` is the form of what is read (Kubernetes API concepts, "Alternate representations of resources").

        `timeout` is how many seconds the API server may be silent before a plain request counts as lost.
        """
        self.target = target
        self.timeout = timeout
        self.user_agent = user_agent
        self.warnings: list[str] = []
        self._accept = accept
        self._environ = dict(os.environ if environ is None else environ)
        self._connection: HTTPConnection | None = None
        self._credential: credentials.Credential | None = None
        self._tls: ssl.SSLContext | None = None
        self._refused = False
        """Whether the last answer was 401: a token may be of an account that has been made anew since."""

    def get(self, path: str, **query: str) -> Json:
        """GET an object or a list."""
        return self.request("GET", path, query=query)

    def create(self, path: str, body: Json, **query: str) -> Json:
        """POST an object."""
        return self.request("POST", path, body=body, query=query)

    def patch(self, path: str, body: Json, **query: str) -> Json:
        """Merge-patch an object."""
        return self.request("PATCH", path, body=body, query=query, content_type=MERGE_PATCH)

    def delete(self, path: str, read: Json | None = None) -> Json:
        """DELETE an object; children go in the background.

        With `read`, the object as it was read, only if it has not changed since: else ApiError, a conflict.
        """
        body: Json = {"propagationPolicy": "Background"}
        if read is not None:
            metadata = read["metadata"]
            body["preconditions"] = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        return self.request("DELETE", path, body=body)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        repeatable: bool = False,
    ) -> Json:
        """One request; raises ApiError or UnreachableError.

        A `repeatable` change is sent again, as a read is, when a kept connection turns out to be dead: who keeps one
        for hours meets load balancers that have forgotten it, and say so only when something is sent.
        """
        with self._send(method, path, body, query, content_type, self.timeout, repeatable) as response:
            try:
                data = response.read()
            except (OSError, HTTPException) as error:
                self.close()
                raise self._unreachable(error, maybe_applied=method not in SAFE_METHODS) from None
        answer = json.loads(data) if data else {}
        return answer if isinstance(answer, dict) else {}

    def lines(self, path: str, query: Mapping[str, str], timeout: float | None) -> Iterator[bytes]:
        """GET a stream line by line (logs, watches); the connection ends with the stream.

        A silence of `timeout` seconds ends it with TimeoutError; None waits for ever.
        """
        response = self._send("GET", path, None, query, "application/json", timeout)
        try:
            yield from response
        except TimeoutError:
            raise
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            self.close()

    def watch(self, path: str, query: Mapping[str, str], timeout: float) -> Iterator[Json]:
        """Watch events ({type, object}) until the server ends the stream or `timeout` seconds are silent."""
        for line in self.lines(path, {**query, "watch": "true"}, timeout):
            event = json.loads(line)
            if isinstance(event, dict):
                yield event

    def close(self) -> None:
        """Give the connection up; the next request opens a new one."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def open_socket(self, timeout: float) -> tuple[socket.socket, str, list[tuple[str, str]]]:
        """A fresh connected socket (TLS done), the Host header and the identity headers, for upgrades.

        `timeout` is how many seconds the other side may be silent until it has answered the upgrade.
        """
        if self._credential and self._credential.expired():
            self._log_in_again()
        connection = self._open(timeout)
        return connection.sock, connection.host, self._headers()

    def path(self, path: str, query: Mapping[str, str] | list[tuple[str, str]] | None = None) -> str:
        """`path` below the server's own prefix (a proxy's, for example), with its query."""
        prefix = urlsplit(self.target.server).path.rstrip("/")
        return prefix + path + ("?" + urlencode(query) if query else "")

    def _send(
        self,
        method: str,
        path: str,
        body: Json | None,
        query: Mapping[str, str] | None,
        content_type: str,
        timeout: float | None,
        repeatable: bool = False,
    ) -> HTTPResponse:
        data = None if body is None else json.dumps(body).encode()
        refused = repeated = False
        while True:
            if self._credential and self._credential.expired():
                self._log_in_again()
            kept = self._kept()
            connection = self._connection = kept or self._open(timeout)
            connection.sock.settimeout(timeout)
            headers = Message()  # a name may come twice: each group that is impersonated is a header of its own
            for name, value in [("Accept", self._accept), ("User-Agent", self.user_agent), *self._headers()]:
                headers[name] = value
            if data is not None:
                headers["Content-Type"] = content_type
            sent = False
            try:
                connection.request(method, self.path(path, query), data, headers)  # type: ignore[arg-type]
                sent = True
                response = connection.getresponse()
            except (OSError, HTTPException) as error:
                self.close()
                if kept and not repeated and (repeatable or may_repeat(method, error, sent)):
                    repeated = True
                    continue
                raise self._unreachable(error, maybe_applied=sent and method not in SAFE_METHODS) from None
            self._refused = response.status == 401
            if self._refused and self._logs_in and not refused:
                refused = True
                self._log_in_again()
                continue
            self._note_warnings(response)
            if response.status >= 400:
                raise self._refusal(response)
            return response

    def _log_in_again(self) -> None:
        """Forget the credential, and the connection, which was opened with its certificate."""
        self._credential = self._tls = None
        self.close()

    def _kept(self) -> HTTPConnection | None:
        """The connection of the request before, if the server has not closed it meanwhile."""
        connection = self._connection
        if connection is not None and (connection.sock is None or is_closed(connection.sock)):
            self.close()
            return None
        return connection

    def _open(self, timeout: float | None) -> HTTPConnection:
        url = urlsplit(self.target.server)
        host = url.hostname or ""
        connection: HTTPConnection
        if url.scheme == "http":
            connection = HTTPConnection(host, url.port or 80, timeout=timeout)
            tls, name = None, host
        else:
            pair = self._login().pair if self.target.user.get("exec") else None
            tls = self._tls = self._tls or credentials.tls(self.target, pair)
            connection = HTTPSConnection(host, url.port or 443, timeout=timeout, context=tls)
            # The certificate may be for another name than the one connected to.
            name = self.target.cluster.get("tls-server-name") or host
        try:
            connection.sock = self._dial(connection.host, connection.port, timeout)
            if tls:
                connection.sock = tls.wrap_socket(connection.sock, server_hostname=name)
        except OSError as error:
            raise self._unreachable(error) from None
        return connection

    def _dial(self, host: str, port: int, timeout: float | None) -> socket.socket:
        """A connection to the API server, through a proxy where one is set, without delay for small writes."""
        import socket

        proxy = None
        # Most people have no proxy to load code for.
        if self.target.tokens is None and (
            self.target.cluster.get("proxy-url") or any(self._environ.get(variable) for variable in PROXY_VARIABLES)
        ):
            from devservers_core.client.proxy import proxy_for

            proxy = proxy_for(self.target.server, self.target.cluster, self._environ)
        if proxy:
            sock = proxy.connect(host, port, timeout, self.user_agent)
        else:
            sock = socket.create_connection((host, port), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def _headers(self) -> list[tuple[str, str]]:
        headers = credentials.headers(self.target)
        if any(name == "Authorization" for name, _ in headers):
            return headers
        if self.target.tokens:
            token: str | None = self.target.tokens.token(self._refused)
            self._refused = False
        else:
            token = self._login().token if self.target.user.get("exec") else None
        return [*headers, ("Authorization", f"Bearer {token}")] if token else headers

    @property
    def _logs_in(self) -> bool:
        """Whether a credential that was refused can be had anew."""
        return self._credential is not None or self.target.tokens is not None

    def _login(self) -> credentials.Credential:
        if self._credential is None:
            self._credential = credentials.run_plugin(self.target, self._environ, sys.stdin.isatty())
        return self._credential

    def _note_warnings(self, response: HTTPResponse) -> None:
        for value in response.headers.get_all("Warning") or []:
            _, _, text = value.partition('"')
            self.warnings.append(text.rstrip('"').replace('\\"', '"'))

    def _unreachable(self, error: Exception, maybe_applied: bool = False) -> UnreachableError:
        text = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or str(error)
        return UnreachableError(f"{self.target.server}: {text or type(error).__name__}", maybe_applied)

    def _refusal(self, response: HTTPResponse) -> ApiError:
        try:
            body = response.read()
        except (OSError, HTTPException):
            self.close()
            body = b""
        return refusal(response.status, response.reason, body)


def refusal(status: int, reason: str, body: bytes) -> ApiError:
    """An ApiError from an answer's status line and its body, which may or may not be a Status object."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict) or document.get("kind") != "Status":
        text = body.decode("utf-8", "replace").strip()
        return ApiError(status, reason, text[:500] or reason, [], {})
    details = document.get("details") or {}
    return ApiError(
        status, document.get("reason", reason), document.get("message", ""), details.get("causes") or [], details
    )
