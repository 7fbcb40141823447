"""What the broker gives out for a person, how long it keeps it, and how it says no; the API server is in memory."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    SSHCertificate,
    load_ssh_public_identity,
)

from bastion.broker.token_service import CA_SECONDS, REUSE, TokenService
from devservers_core.client.kubeconfig import Target
from devservers_core.protocol import ProtocolError
from devservers_core.protocol.broker import parse_request
from tests.support.bastion.accounts import key
from tests.support.cli.api_server import ApiServer

TOKEN = "/api/v1/namespaces/dev-ann/serviceaccounts/devctl/token"
CA = "/api/v1/namespaces/devservers-system/secrets/user-ca"
ANN = "/apis/devservers.io/v1/devserverusers/ann"
LIFE = timedelta(minutes=10)


class Clock:
    """The broker's time, which a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api(clock: Clock) -> Iterator[ApiServer]:
    """Gives tokens t1, t2, ... of ten minutes, and has a CA and the person ann with two keys."""
    server = ApiServer()

    def token(body: dict[str, Any]) -> dict[str, Any]:
        assert body["spec"] == {"expirationSeconds": LIFE.total_seconds()}
        number = sum(path == TOKEN for _, path, _ in server.writes)
        return {"status": {"token": f"t{number}", "expirationTimestamp": f"{clock.now + LIFE:%Y-%m-%dT%H:%M:%SZ}"}}

    server.answers[TOKEN] = token
    private = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    server.put(CA, data={"ca": base64.b64encode(private).decode()})
    server.put(ANN, spec={"username": "ann", "sshKeys": [{"name": "a", "key": key(1)}, {"name": "b", "key": key(2)}]})
    yield server
    server.close()


@pytest.fixture
def service(api: ApiServer, clock: Clock) -> TokenService:
    return TokenService(
        Target(api.url, "c", "s", None, {"certificate-authority-data": "Q0E="}), "devservers-system", clock
    )


def ask(service: TokenService, user: str, message: dict[str, Any]) -> dict[str, Any]:
    """The answer to a message, read as the broker's socket reads it."""
    return service.answer(user, parse_request(json.dumps(message).encode()))


def test_token_answer_has_what_a_client_needs(api: ApiServer, service: TokenService) -> None:
    assert ask(service, "ann", {"want": "token"}) == {
        "token": "t1", "expiresAt": "2026-01-01T00:10:00Z", "server": api.url, "certificateAuthority": "Q0E=",
        "namespace": "dev-ann", "user": "ann",
    }  # fmt: skip


def test_token_is_reused_until_five_minutes_before_its_end(api: ApiServer, service: TokenService, clock: Clock) -> None:
    first = ask(service, "ann", {"want": "token"})
    clock.now += LIFE - REUSE
    assert ask(service, "ann", {"want": "token"}) == first
    clock.now += timedelta(seconds=1)
    assert ask(service, "ann", {"want": "token"})["token"] == "t2"
    assert [path for _, path, _ in api.writes] == [TOKEN, TOKEN]


def test_token_refused_by_the_cluster_is_replaced(service: TokenService) -> None:
    ask(service, "ann", {"want": "token"})
    assert ask(service, "ann", {"want": "token", "fresh": True})["token"] == "t2"
    assert ask(service, "ann", {"want": "token", "fresh": False})["token"] == "t2", "only true asks for a new one"
    with pytest.raises(ProtocolError):
        ask(service, "ann", {"want": "token", "fresh": "yes"})


def test_token_of_one_user_is_never_given_to_another(api: ApiServer, service: TokenService) -> None:
    api.answers[TOKEN.replace("ann", "bob")] = lambda body: {
        "status": {"token": "of-bob", "expirationTimestamp": "2026-01-01T00:10:00Z"}
    }
    assert ask(service, "ann", {"want": "token"})["token"] == "t1"
    found = ask(service, "bob", {"want": "token"})
    assert (found["token"], found["namespace"], found["user"]) == ("of-bob", "dev-bob", "bob")
    assert ask(service, "ann", {"want": "token"})["token"] == "t1"


def test_certificate_names_the_user_alone(service: TokenService) -> None:
    text = ask(service, "ann", {"want": "certificate", "publicKey": key(7)})["certificate"]
    found = load_ssh_public_identity(text.encode())
    assert isinstance(found, SSHCertificate)
    assert found.valid_principals == [b"ann"]


@pytest.mark.parametrize("wanted", ["ssh-ed25519 AAAA", "ssh-ed25519 " + "A" * 400])
def test_certificate_of_an_invalid_ed25519_key_is_refused(service: TokenService, wanted: object) -> None:
    found = ask(service, "ann", {"want": "certificate", "publicKey": wanted})
    assert (found["error"], found["code"]) == ("publicKey must be one ssh-ed25519 line", 2)


@pytest.mark.parametrize("wanted", [None, 7, "", "ssh-rsa AAAA", "ssh-ed25519 " + "A" * 600])
def test_certificate_request_without_an_ed25519_key_is_refused(service: TokenService, wanted: object) -> None:
    with pytest.raises(ProtocolError, match="publicKey must be one ssh-ed25519 line"):
        ask(service, "ann", {"want": "certificate", "publicKey": wanted})


def test_ca_is_read_again_after_its_time(
    api: ApiServer, service: TokenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: seconds[0])
    wanted = {"want": "certificate", "publicKey": key(7)}
    assert "certificate" in ask(service, "ann", wanted)
    api.put(CA, data={})
    assert "certificate" in ask(service, "ann", wanted), "the one in memory"
    seconds[0] += CA_SECONDS + 1
    assert ask(service, "ann", wanted)["error"] == "the bastion is not set up: Secret user-ca has no ca"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "there is no Secret user-ca yet"),
        ({"ca": ""}, "the user CA is not an unencrypted ed25519 key"),
        ({"ca": base64.b64encode(b"-----BEGIN s3cret").decode()}, "the user CA is not an unencrypted ed25519 key"),
        ({"ca": base64.b64encode(b"\xff").decode()}, "Secret user-ca has no ca"),
    ],
)
def test_broken_ca_is_refused_without_a_word_of_it(
    api: ApiServer, service: TokenService, data: dict[str, str] | None, says: str
) -> None:
    if data is None:
        del api.objects[CA]
    else:
        api.put(CA, data=data)
    found = ask(service, "ann", {"want": "certificate", "publicKey": key(7)})
    assert says in found["error"]
    assert found["try"] == "tell an administrator"
    assert "s3cret" not in str(found)


def test_keys_change_is_written_at_the_version_that_was_read(api: ApiServer, service: TokenService) -> None:
    api.objects[ANN]["metadata"]["resourceVersion"] = "41"
    found = ask(service, "ann", {"want": "keys", "remove": "a"})
    assert found == {"spec": {"sshPublicKeys": [], "sshKeys": [{"name": "b", "key": key(2)}]}}
    ((method, path, body),) = api.writes
    assert (method, path) == ("PATCH", ANN)
    assert body is not None
    assert body["metadata"] == {"resourceVersion": "41"}
    assert (
        ask(service, "ann", {"want": "keys", "remove": "b"})["error"] == "this is the last key that opens the account"
    )


def test_keys_change_after_a_conflict_is_made_again(api: ApiServer, service: TokenService) -> None:
    api.refuse("PATCH", ANN, (409, "conflict"), (409, "conflict"), (200, ""))
    assert len(ask(service, "ann", {"want": "keys", "remove": "a"})["spec"]["sshKeys"]) == 1
    assert len(api.writes) == 3
    api.refuse("PATCH", ANN, (409, "conflict"))
    assert "error" in ask(service, "ann", {"want": "keys", "add": {"name": "c", "key": key(3)}})


@pytest.mark.parametrize(
    ("status", "says", "code"),
    [
        (404, "ann's namespace is not made yet", 3),
        (401, "the bastion may not do this for ann (yet)", 4),
        (403, "the bastion may not do this for ann (yet)", 4),
    ],
)
def test_refusal_of_the_cluster_becomes_a_text_for_the_user(
    api: ApiServer, service: TokenService, status: int, says: str, code: int
) -> None:
    api.refuse("POST", TOKEN, (status, "system:serviceaccount:devservers-bastion:bastion may not"))
    found = ask(service, "ann", {"want": "token"})
    assert (found["error"], found["code"]) == (says, code)
    assert "system:" not in str(found)


def test_unreachable_cluster_is_refused_as_such(api: ApiServer, service: TokenService) -> None:
    api.close()
    assert ask(service, "ann", {"want": "token"})["error"] == "the cluster does not answer"


@pytest.mark.parametrize("request_", [{}, {"want": "secrets"}, {"want": None}, {"want": ["token"]}])
def test_unknown_request_is_refused_without_a_write(
    api: ApiServer, service: TokenService, request_: dict[str, Any]
) -> None:
    with pytest.raises(ProtocolError, match="this is no request"):
        ask(service, "ann", request_)
    assert api.writes == []
