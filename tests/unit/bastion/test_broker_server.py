"""The broker over its real socket: credentials for the person whom the kernel names, and for nobody else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from bastion.broker.server import BURST, BrokerServer
from bastion.broker.token_service import TokenService
from bastion.paths import Paths
from devservers_core.client.kubeconfig import Target
from devservers_core.protocol.broker import TokenRequest, encode
from tests.support.bastion.accounts import person
from tests.support.bastion.sockets import ROOT, SocketPeer, pod
from tests.support.cli.api_server import ApiServer

pytestmark = pytest.mark.skipif(not ROOT, reason="connects as other users, which only root can")
ANN, BOB = 20000, 20001
TOKEN = encode(TokenRequest().message())


@pytest.fixture
def api() -> Iterator[ApiServer]:
    """Gives out the token s3cret for ann."""
    server = ApiServer()
    end = datetime.now(UTC) + timedelta(minutes=10)
    status = {"token": "s3cret", "expirationTimestamp": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
    server.answers["/api/v1/namespaces/dev-ann/serviceaccounts/devctl/token"] = lambda body: {"status": status}
    yield server
    server.close()


def run(api: ApiServer, check: Callable[[Paths], Awaitable[None]]) -> None:
    """Serves for ann, and for bob, who is suspended, while `check` lasts."""

    async def main(paths: Paths) -> None:
        target = Target(api.url, "c", "s", None, {"certificate-authority-data": "Q0E="})
        service = TokenService(target, "devservers-system", lambda: datetime.now(UTC))
        async with await BrokerServer(paths, service).serve():
            await check(paths)

    with pod([person("ann", ANN), person("bob", BOB, suspended=True)]) as paths:
        asyncio.run(main(paths))


def test_broker_gives_a_token_to_the_user_of_the_uid(api: ApiServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def check(paths: Paths) -> None:
        ann = await SocketPeer.connect(paths.broker_socket, ANN)
        answer = TokenRequest().parse_answer(await ann.ask(b'{"want": "token", "user": "bob", "uid": 0}'))
        assert (answer.token, answer.user, answer.namespace) == ("s3cret", "ann", "dev-ann")

    run(api, check)
    assert "ann token yes" in caplog.messages
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("uid", [0, 33, 10002, 19999, 20002])
def test_broker_refuses_a_uid_without_an_account(api: ApiServer, uid: int) -> None:
    async def check(paths: Paths) -> None:
        stranger = await SocketPeer.connect(paths.broker_socket, uid)
        answer = await stranger.ask(TOKEN)
        assert (answer["error"], answer["code"]) == (f"uid {uid} is nobody's account", 4)

    run(api, check)
    assert api.writes == []


def test_broker_refuses_a_user_without_a_key_in_force(api: ApiServer) -> None:
    async def check(paths: Paths) -> None:
        bob = await SocketPeer.connect(paths.broker_socket, BOB)
        answer = await bob.ask(TOKEN)
        assert (answer["error"], answer["code"]) == ("no key of yours is in force", 4)

    run(api, check)
    assert api.writes == []


def test_broker_refuses_a_malformed_request_and_takes_the_next_one(api: ApiServer) -> None:
    async def check(paths: Paths) -> None:
        ann = await SocketPeer.connect(paths.broker_socket, ANN)
        for line in (b"", b"{", b"[]", b'{"want": 7}', b'{"want": "secret"}', b"[" * 5000):
            answer = await ann.ask(line)
            assert (answer["error"], answer["try"], answer["code"]) == ("this is no request", "report this", 2)
        assert (await ann.ask(b'{"want": "token", "fresh": "yes"}'))["error"] == "fresh must be true or false"
        assert (await ann.ask(TOKEN))["token"] == "s3cret"

    run(api, check)


def test_broker_refuses_a_user_who_asks_too_often(api: ApiServer, caplog: pytest.LogCaptureFixture) -> None:
    async def check(paths: Paths) -> None:
        ann = await SocketPeer.connect(paths.broker_socket, ANN)
        answers = [await ann.ask(b'{"want": "?"}') for _ in range(int(BURST) + 20)]
        assert answers[0]["error"] == "this is no request"
        assert answers[-1]["error"] == "you ask for credentials too often"

    run(api, check)
    assert "refused ann: too many requests" in caplog.messages


def test_broker_hangs_up_on_a_line_beyond_the_limit(api: ApiServer) -> None:
    async def check(paths: Paths) -> None:
        ann = await SocketPeer.connect(paths.broker_socket, ANN)
        try:
            answer = await ann.ask(b"x" * (1 << 17))
        except ConnectionError:
            answer = {}
        assert answer == {}

    run(api, check)
