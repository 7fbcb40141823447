"""Connects to the API server through an HTTP proxy, as kubectl does.

Invariant: only CONNECT is spoken, so that TLS ends at the API server; a proxy's password is in no message.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from devservers_core.errors import USAGE, CommandError, UnreachableError

if TYPE_CHECKING:
    import socket

MAX_ANSWER = 16 * 1024
"""Bytes of a proxy's answer to CONNECT."""


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy; `authorization` is the whole header's value."""

    host: str
    port: int
    authorization: str | None = None

    def connect(self, host: str, port: int, timeout: float | None, user_agent: str = "devservers") -> socket.socket:
        """A connection to `host` that the proxy carries on. Raises UnreachableError."""
        import socket

        try:
            sock = socket.create_connection((self.host, self.port), timeout)
        except OSError as error:
            raise UnreachableError(f"the proxy {self.host}:{self.port}: {error.strerror or error}") from None
        try:
            self._ask(sock, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", user_agent)
        except OSError as error:
            sock.close()
            raise UnreachableError(f"the proxy {self.host}:{self.port}: {error.strerror or error}") from None
        except BaseException:
            sock.close()
            raise
        return sock

    def _ask(self, sock: socket.socket, target: str, user_agent: str) -> None:
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", f"User-Agent: {user_agent}"]
        if self.authorization:
            lines.append(f"Proxy-Authorization: {self.authorization}")
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            # By single bytes: what follows the answer belongs to TLS.
            byte = sock.recv(1)
            if not byte or len(answer) >= MAX_ANSWER:
                raise UnreachableError(f"the proxy {self.host}:{self.port} gave no answer to CONNECT")
            answer += byte
        status = answer.split(b"\r\n", 1)[0].decode("latin-1")
        if status.split()[1:2] != ["200"]:
            refusal = status.partition(" ")[2] or status
            raise UnreachableError(f"the proxy {self.host}:{self.port} refused to connect to {target}: {refusal[:200]}")


def proxy_for(server: str, cluster: Mapping[str, Any], environ: Mapping[str, str]) -> Proxy | None:
    """The proxy for an API server's URL; None for a direct connection. Raises CommandError.

    A kubeconfig's proxy-url holds always. The variables are not for loopback, nor for what NO_PROXY lists, and the
    upper-case name goes before the lower-case one (golang.org/x/net/http/httpproxy, which kubectl uses).
    """
    if cluster.get("proxy-url"):
        return _parse(str(cluster["proxy-url"]), "proxy-url of the kubeconfig")
    url = urlsplit(server)
    name = "HTTP_PROXY" if url.scheme == "http" else "HTTPS_PROXY"
    variable = next((spelling for spelling in (name, name.lower()) if environ.get(spelling)), None)
    if variable is None:
        return None
    host = (url.hostname or "").rstrip(".").lower()
    excluded = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    if _is_loopback(host) or _excludes(excluded, host, url.port or (80 if url.scheme == "http" else 443)):
        return None
    return _parse(environ[variable], variable)


def _parse(text: str, source: str) -> Proxy:
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        host, port = url.hostname, url.port
    except ValueError:
        host, port, url = None, None, urlsplit("")
    if not host:
        raise CommandError(
            f"{source} is not the address of a proxy", "write it like http://proxy.example.org:3128", USAGE
        )
    if url.scheme != "http":
        raise CommandError(
            f"{source} names a proxy of the kind {url.scheme}://, and only http:// proxies are supported",
            "give the proxy's http:// address; what is sent through it is encrypted all the same",
            USAGE,
        )
    authorization = None
    if url.username is not None:
        import base64

        pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(host, port or 80, authorization)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _excludes(no_proxy: str, host: str, port: int) -> bool:
    """Whether NO_PROXY lists the host: `*`, a name with what is below it, an address, or a network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for entry in (item.strip().lower() for item in no_proxy.split(",")):
        if entry == "*":
            return True
        if "/" in entry:
            try:
                if address is not None and address in ipaddress.ip_network(entry, strict=False):
                    return True
            except ValueError:
                pass
            continue
        name, colon, number = entry.rpartition(":")
        if colon and number.isdecimal() and (":" not in name or name.startswith("[")):
            if int(number) != port:
                continue
            entry = name
        entry = entry.strip("[]").removeprefix("*").rstrip(".")
        if not entry:
            continue
        if address is not None:
            try:
                if ipaddress.ip_address(entry) == address:
                    return True
            except ValueError:
                pass
        elif host == entry or host.endswith(entry if entry.startswith(".") else f".{entry}"):
            return True
    return False
