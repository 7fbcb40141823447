"""Which proxy a connection to the API server takes, and the CONNECT that it is asked with."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from devservers_core.client.proxy import Proxy, proxy_for
from devservers_core.errors import CommandError, UnreachableError

PROXY = "http://proxy.example.org:3128"


@pytest.mark.parametrize(
    ("server", "environ", "port"),
    [
        ("https://api.example.org", {"HTTPS_PROXY": PROXY}, 3128),
        ("https://api.example.org", {"https_proxy": PROXY}, 3128),
        ("https://api.example.org", {"HTTPS_PROXY": "http://upper:1", "https_proxy": PROXY}, 1),
        ("https://api.example.org", {"HTTPS_PROXY": "proxy.example.org:8080"}, 8080),
        ("https://api.example.org", {"HTTPS_PROXY": "http://proxy.example.org"}, 80),
        ("https://api.example.org", {"HTTP_PROXY": PROXY}, None),
        ("http://api.example.org", {"http_proxy": PROXY}, 3128),
        ("http://api.example.org", {"HTTPS_PROXY": PROXY}, None),
        ("https://localhost:6443", {"HTTPS_PROXY": PROXY}, None),
        ("https://127.0.0.9:6443", {"HTTPS_PROXY": PROXY}, None),
        ("https://[::1]:6443", {"HTTPS_PROXY": PROXY}, None),
        ("https://api.example.org", {}, None),
        ("https://api.example.org", {"HTTPS_PROXY": ""}, None),
    ],
)
def test_proxy_for_reads_the_variables_as_kubectl(server: str, environ: dict[str, str], port: int | None) -> None:
    found = proxy_for(server, {}, environ)
    assert (found.port if found else None) == port


@pytest.mark.parametrize(
    ("listed", "direct"),
    [
        ("*", True), ("api.example.org", True), ("example.org", True), (".example.org", True), ("*.example.org", True),
        ("EXAMPLE.org, other", True), ("api.example.org:6443", True), ("api.example.org:443", False),
        ("ample.org", False), ("api.example.org.evil", False), (".api.example.org", False), ("10.0.0.0/8", False),
        ("", False), (",,", False), ("other", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_proxy_for_leaves_out_what_no_proxy_names(listed: str, direct: bool, variable: str) -> None:
    environ = {"HTTPS_PROXY": PROXY, variable: listed}
    assert (proxy_for("https://api.example.org:6443", {}, environ) is None) is direct


@pytest.mark.parametrize(
    ("listed", "host", "direct"),
    [
        ("10.0.0.0/8", "10.1.2.3", True), ("10.1.2.3", "10.1.2.3", True), ("10.1.2.3:6443", "10.1.2.3", True),
        ("10.1.2.3:1", "10.1.2.3", False), ("11.0.0.0/8", "10.1.2.3", False), ("fd00::/8", "[fd00::1]", True),
        ("fd00::1", "[fd00::1]", True), ("[fd00::1]:6443", "[fd00::1]", True), ("10.0.0.0/99", "10.1.2.3", False),
    ],
)  # fmt: skip
def test_proxy_for_leaves_out_addresses_and_networks(listed: str, host: str, direct: bool) -> None:
    found = proxy_for(f"https://{host}:6443", {}, {"HTTPS_PROXY": PROXY, "NO_PROXY": listed})
    assert (found is None) is direct


def test_proxy_for_the_kubeconfigs_own_goes_before_everything() -> None:
    environ = {"HTTPS_PROXY": "http://other:1", "NO_PROXY": "*"}
    found = proxy_for("https://127.0.0.1:6443", {"proxy-url": "http://ann:s%40crt@proxy:3128"}, environ)
    assert found == Proxy("proxy", 3128, "Basic " + base64.b64encode(b"ann:s@crt").decode())


@pytest.mark.parametrize("text", ["socks5://proxy:1080", "https://proxy", "http://", "http://proxy:x"])
def test_proxy_for_refuses_what_it_cannot_speak_and_tells_no_password(text: str) -> None:
    with pytest.raises(CommandError) as caught:
        proxy_for("https://api", {"proxy-url": text.replace("://", "://ann:hunter2@", 1)}, {})
    assert "proxy-url" in caught.value.what
    assert "hunter2" not in caught.value.what + caught.value.remedy


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[Proxy, list[bytes]]]:
    """A proxy that answers once."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while b"\r\n\r\n" not in b"".join(asked):
                    asked.append(connection.recv(4096))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Proxy("127.0.0.1", listener.getsockname()[1], "Basic eDp5"), asked
        thread.join(10)


def test_connect_asks_for_the_host_and_leaves_the_tunnels_bytes() -> None:
    answer = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nhello"
    with answering(answer) as (proxy, asked), proxy.connect("fd00::1", 6443, 10) as sock:
        assert sock.recv(100) == b"hello"
    said = b"".join(asked)
    assert said.startswith(b"CONNECT [fd00::1]:6443 HTTP/1.1\r\nHost: [fd00::1]:6443\r\n")
    assert b"\r\nProxy-Authorization: Basic eDp5\r\n" in said


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 Proxy Authentication Required"),
        (b"", "no answer to CONNECT"),
        (b"x" * 20_000, "no answer to CONNECT"),
    ],
)
def test_connect_says_what_the_proxy_refused(answer: bytes, says: str) -> None:
    with answering(answer) as (proxy, _), pytest.raises(UnreachableError) as caught:
        proxy.connect("api", 443, 10)
    assert says in str(caught.value)
    assert "eDp5" not in str(caught.value)
