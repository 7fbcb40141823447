"""Which requests the client sends again, against a real TLS server that counts what it was sent."""

from __future__ import annotations

import base64
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import pytest

from devcluster.node.pki import Authority
from devctl.output.errors import explain
from devservers_core.client.api import ApiClient
from devservers_core.client.kubeconfig import Target
from devservers_core.errors import ApiError, UnreachableError
from tests.support.wait import eventually

PATH = "/api/v1/things"
SAFE, CHANGES = ["GET"], ["POST", "PATCH", "DELETE"]


class ApiServer:
    """Answers each connection by a script of its own: one step a request, `ok` once the script is at its end."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        certificate, key = self.authority.issue("server", "server", hosts=("127.0.0.1",))
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self.scripts: list[list[str]] = []
        self.requests: list[str] = []
        """Methods of the requests that came whole, in order."""
        self.tokens: list[str] = []
        self.connections = 0
        self.over = threading.Event()
        self.closed = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.over.set()
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            script = self.scripts[self.connections] if self.connections < len(self.scripts) else []
            self.connections += 1
            threading.Thread(target=self._serve, args=(raw, list(script)), daemon=True).start()

    def _serve(self, raw: socket.socket, script: list[str]) -> None:
        with self._tls.wrap_socket(raw, server_side=True) as sock, sock.makefile("rb") as reader:
            while True:
                step = script.pop(0) if script else "ok"
                if step == "close":
                    break
                request = reader.readline()
                if not request:
                    return
                size = 0
                while (line := reader.readline().strip()) != b"":
                    name, _, value = line.partition(b":")
                    size = int(value) if name.lower() == b"content-length" else size
                    if name.lower() == b"authorization":
                        self.tokens.append(value.split()[-1].decode())
                reader.read(size)
                self.requests.append(request.split()[0].decode())
                if step == "hang up":
                    break
                if step == "silence":
                    self.over.wait(30)
                    return
                if step == "half":
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
                    break
                status = b"401 Unauthorized" if step == "401" else b"200 OK"
                sock.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\n{}")
        self.closed.set()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    running = ApiServer(tmp_path)
    yield running
    running.close()


@pytest.fixture
def client(server: ApiServer) -> ApiClient:
    data = base64.b64encode(server.authority.certificate.read_bytes()).decode()
    target = Target(server.url, "c", "s", None, {"certificate-authority-data": data}, {"token": "t"})
    return ApiClient(target, {}, timeout=1.0)


def ask(client: ApiClient, method: str) -> None:
    client.request(method, PATH, body=None if method == "GET" else {"a": 1})


@pytest.mark.parametrize("method", CHANGES)
@pytest.mark.parametrize("step", ["silence", "hang up"])
def test_write_without_an_answer_on_a_kept_connection_is_sent_once(
    server: ApiServer, client: ApiClient, method: str, step: str
) -> None:
    server.scripts = [["ok", step]]
    ask(client, "GET")
    with pytest.raises(UnreachableError) as caught:
        ask(client, method)
    assert server.requests == ["GET", method]
    failure = explain(caught.value)
    assert "may have been made" in failure.what
    assert "look before you try again" in failure.remedy
    ask(client, "GET")
    assert server.connections == 2, "the next request has a connection of its own"


@pytest.mark.parametrize("step", ["silence", "hang up"])
def test_read_without_an_answer_on_a_kept_connection_is_sent_again(
    server: ApiServer, client: ApiClient, step: str
) -> None:
    server.scripts = [["ok", step]]
    ask(client, "GET")
    ask(client, "GET")
    assert server.requests == ["GET", "GET", "GET"]
    assert server.connections == 2


@pytest.mark.parametrize("step", ["silence", "hang up"])
def test_repeatable_write_is_sent_again_once(server: ApiServer, client: ApiClient, step: str) -> None:
    """As the bastion's broker asks for tokens, over a connection that a load balancer may have forgotten."""
    server.scripts = [["ok", step]]
    ask(client, "GET")
    client.request("POST", PATH, body={"a": 1}, repeatable=True)
    assert server.requests == ["GET", "POST", "POST"]
    assert server.connections == 2


@pytest.mark.parametrize("step", ["silence", "hang up"])
def test_repeatable_write_is_sent_no_third_time(server: ApiServer, client: ApiClient, step: str) -> None:
    server.scripts = [["ok", step], [step]]
    ask(client, "GET")
    with pytest.raises(UnreachableError):
        client.request("POST", PATH, body={"a": 1}, repeatable=True)
    assert server.requests == ["GET", "POST", "POST"]


@pytest.mark.parametrize("step", ["silence", "hang up"])
def test_read_is_sent_again_once_and_no_more(server: ApiServer, client: ApiClient, step: str) -> None:
    server.scripts = [["ok", step], [step]]
    ask(client, "GET")
    with pytest.raises(UnreachableError) as caught:
        ask(client, "GET")
    assert server.requests == ["GET", "GET", "GET"]
    assert "does not answer" in explain(caught.value).what
    assert "may have" not in explain(caught.value).what


@pytest.mark.parametrize("method", SAFE + CHANGES)
def test_connection_closed_while_idle_costs_no_request(server: ApiServer, client: ApiClient, method: str) -> None:
    server.scripts = [["ok", "close"]]
    ask(client, "GET")
    assert server.closed.wait(10)
    ask(client, method)
    assert server.requests == ["GET", method]
    assert server.connections == 2


@pytest.mark.parametrize("method", CHANGES)
def test_write_that_was_not_sent_whole_is_sent_again(
    server: ApiServer, client: ApiClient, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server closes between the look at the connection and the first byte: a race that is arranged here."""
    ask(client, "GET")
    write = HTTPConnection.request

    def closed(self: HTTPConnection, *args: object) -> None:
        monkeypatch.undo()
        self.sock.shutdown(socket.SHUT_RDWR)
        write(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(HTTPConnection, "request", closed)
    ask(client, method)
    assert server.requests == ["GET", method]
    assert server.connections == 2


@pytest.mark.parametrize("method", CHANGES)
@pytest.mark.parametrize("step", ["silence", "hang up", "half"])
def test_write_on_a_new_connection_is_sent_once(server: ApiServer, client: ApiClient, method: str, step: str) -> None:
    server.scripts = [[step]]
    with pytest.raises(UnreachableError) as caught:
        ask(client, method)
    # On a busy machine the client's time is over before the server's thread has read the request.
    eventually(lambda: server.requests, f"the {method}")
    assert server.requests == [method]
    assert caught.value.maybe_applied


def test_write_without_a_connection_is_not_applied(server: ApiServer, client: ApiClient) -> None:
    server.close()
    with pytest.raises(UnreachableError) as caught:
        ask(client, "POST")
    assert not caught.value.maybe_applied


def test_401_without_a_login_program_is_the_answer(server: ApiServer, client: ApiClient) -> None:
    server.scripts = [["401"]]
    with pytest.raises(ApiError):
        ask(client, "POST")
    assert server.requests == ["POST"]


def logs_in(client: ApiClient, folder: Path, *lives: int) -> Path:
    """Logs `client` in by a program that gives token 1, 2, ... with these lives in seconds; the file of its runs."""
    runs, program = folder / "runs", folder / "login"
    program.write_text(
        f"#!{sys.executable}\n"
        "import datetime, json, pathlib\n"
        f"runs, lives = pathlib.Path({str(runs)!r}), {lives!r}\n"
        "count = len(runs.read_text()) if runs.exists() else 0\n"
        "runs.write_text('x' * (count + 1))\n"
        "life = datetime.timedelta(seconds=lives[min(count, len(lives) - 1)])\n"
        "end = (datetime.datetime.now(datetime.UTC) + life).isoformat()\n"
        "print(json.dumps({'status': {'token': str(count + 1), 'expirationTimestamp': end}}))\n"
    )
    program.chmod(0o755)
    user = {"exec": {"command": str(program), "interactiveMode": "Never"}}
    client.target = replace(client.target, user=user)
    return runs


def test_login_program_runs_again_when_its_credential_has_expired(
    server: ApiServer, client: ApiClient, tmp_path: Path
) -> None:
    runs = logs_in(client, tmp_path, -1, 3600)
    for _ in range(3):
        ask(client, "GET")
    assert server.tokens == ["1", "2", "2"]
    assert len(runs.read_text()) == 2


def test_login_program_runs_again_once_when_its_credential_is_refused(
    server: ApiServer, client: ApiClient, tmp_path: Path
) -> None:
    runs = logs_in(client, tmp_path, 3600)
    server.scripts = [["401"], ["ok", "401"], ["401"]]
    ask(client, "POST")
    assert server.tokens == ["1", "2"]
    assert len(runs.read_text()) == 2
    with pytest.raises(ApiError):
        ask(client, "POST")
    assert server.tokens == ["1", "2", "2", "3"]


class Tokens:
    """A token source that counts what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[bool] = []

    def token(self, refused: bool) -> str:
        self.asked.append(refused)
        return str(len(self.asked))


def test_token_source_is_asked_for_each_request_and_told_of_a_refusal(server: ApiServer, client: ApiClient) -> None:
    tokens = Tokens()
    client.target = replace(client.target, user={}, tokens=tokens)
    server.scripts = [["ok", "401"]]
    ask(client, "GET")
    ask(client, "POST")
    assert tokens.asked == [False, False, True]
    assert server.tokens == ["1", "2", "3"]


def test_token_source_goes_through_no_proxy(server: ApiServer, client: ApiClient) -> None:
    """On the bastion a person's environment is their own."""
    target = replace(client.target, server="https://192.0.2.1:1", user={}, tokens=Tokens())
    with pytest.raises(UnreachableError) as caught:
        ask(ApiClient(target, {"HTTPS_PROXY": "http://127.0.0.1:1"}, timeout=0.2), "GET")
    assert "proxy" not in str(caught.value)
