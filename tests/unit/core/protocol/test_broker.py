"""The broker's messages: both ends agree on each, and a field of the wrong type is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devservers_core.protocol import ProtocolError, broker
from devservers_core.protocol.broker import (
    CertificateAnswer,
    CertificateRequest,
    KeysAnswer,
    KeysRequest,
    Refusal,
    TokenAnswer,
    TokenRequest,
)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA"
TOKEN = TokenAnswer("t1", "2026-01-01T00:10:00Z", "https://api", "Q0E=", "dev-ann", "ann")
KEYS = {"sshPublicKeys": [KEY], "sshKeys": [{"name": "a", "key": KEY}]}


@pytest.mark.parametrize(
    "request_",
    [
        TokenRequest(),
        TokenRequest(fresh=True),
        CertificateRequest(KEY),
        KeysRequest(),
        KeysRequest({"add": {"name": "a", "key": KEY}}),
        KeysRequest({"add": {"name": "a", "key": KEY, "expires": "90d"}}),
        KeysRequest({"remove": "a"}),
    ],
)
def test_request_comes_back_as_it_was(request_: TokenRequest | CertificateRequest | KeysRequest) -> None:
    line = broker.encode(request_.message())
    assert line.count(b"\n") == 1
    assert broker.parse_request(line) == request_


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"want": "token", "fresh": "yes"}, "fresh must be true or false"),
        ({"want": "token", "fresh": 1}, "fresh must be true or false"),
        ({"want": "token", "fresh": None}, "fresh must be true or false"),
        *(
            ({"want": "certificate", "publicKey": key}, "publicKey must be one ssh-ed25519 line")
            for key in (None, 7, "", [KEY], "ssh-rsa AAAA", f'command="x" {KEY}', "ssh-ed25519 " + "A" * 512)
        ),
        ({"want": "certificate"}, "publicKey must be one ssh-ed25519 line"),
        ({"want": "keys", "add": None}, "add is not an object"),
        ({"want": "keys", "add": KEY}, "add is not an object"),
        ({"want": "keys", "add": {}}, "name is not a string"),
        ({"want": "keys", "add": {"name": 7, "key": KEY}}, "name is not a string"),
        ({"want": "keys", "add": {"name": "a"}}, "key is not a string"),
        ({"want": "keys", "add": {"name": "a", "key": [KEY]}}, "key is not a string"),
        ({"want": "keys", "add": {"name": "a", "key": KEY, "expires": 90}}, "expires is not a string"),
        ({"want": "keys", "remove": 7}, "remove is not a string"),
        ({"want": "keys", "remove": None}, "remove is not a string"),
        ({"v": 2, "want": "token"}, "version 1"),
        ({"v": "1", "want": "token"}, "version 1"),
        ({"want": "secrets"}, "this is no request"),
        ({"want": None}, "this is no request"),
        ({"want": ["token"]}, "this is no request"),
        ({}, "this is no request"),
        ([], "this is no request"),
        (None, "this is no request"),
    ],
)
def test_request_with_a_wrong_field_is_refused(message: object, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        broker.parse_request(json.dumps(message).encode())


@pytest.mark.parametrize("line", [b"", b"{", b"\xff", b"[" * 5000])
def test_line_that_is_no_json_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="this is no request"):
        broker.parse_request(line)


def test_request_that_names_a_person_is_read_without_the_name() -> None:
    line = json.dumps({"want": "token", "user": "bob", "uid": 0, "namespace": "dev-bob"}).encode()
    assert broker.parse_request(line) == TokenRequest()


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (TokenRequest(), TOKEN),
        (CertificateRequest(KEY), CertificateAnswer("ssh-ed25519-cert-v01@openssh.com AAAA")),
        (KeysRequest(), KeysAnswer(KEYS)),
        (KeysRequest(), KeysAnswer({})),
    ],
)
def test_answer_comes_back_as_it_was(request_: Any, answer: Any) -> None:
    message = json.loads(broker.encode(answer.message()))
    assert broker.parse_refusal(message) is None
    assert request_.parse_answer(message) == answer


@pytest.mark.parametrize("name", sorted(TOKEN.message()))
def test_token_answer_without_a_field_or_with_a_wrong_one_is_refused(name: str) -> None:
    for wrong in ({}, {name: None}, {name: 7}, {name: ["x"]}):
        message = {other: value for other, value in TOKEN.message().items() if other != name} | wrong
        with pytest.raises(ProtocolError, match=f"^{name} is not a string"):
            TokenRequest().parse_answer(message)


@pytest.mark.parametrize("end", ["", "soon", "2026-01-01T00:10:00", "2026-13-01T00:10:00Z"])
def test_token_answer_whose_end_is_no_time_is_refused(end: str) -> None:
    with pytest.raises(ProtocolError, match="expiresAt"):
        TokenRequest().parse_answer(TOKEN.message() | {"expiresAt": end})


@pytest.mark.parametrize("certificate", [None, 7, ["x"]])
def test_certificate_answer_with_a_wrong_field_is_refused(certificate: object) -> None:
    with pytest.raises(ProtocolError, match="certificate is not a string"):
        CertificateRequest(KEY).parse_answer({"certificate": certificate})


@pytest.mark.parametrize("spec", [None, [], "x", {"sshKeys": None}, {"sshKeys": {}}, {"sshPublicKeys": KEY}])
def test_keys_answer_with_a_wrong_field_is_refused(spec: object) -> None:
    with pytest.raises(ProtocolError, match="is not"):
        KeysRequest().parse_answer({"spec": spec})


def test_refusal_comes_back_as_it_was() -> None:
    refusal = Refusal("no key of yours is in force", "ask an administrator", 4)
    assert refusal.message() == {"error": "no key of yours is in force", "try": "ask an administrator", "code": 4}
    assert broker.parse_refusal(refusal.message()) == refusal


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"error": 7, "try": "x"}, "error is not a string"),
        ({"error": None, "try": "x"}, "error is not a string"),
        ({"error": "x"}, "try is not a string"),
        ({"error": "x", "try": "y", "code": "4"}, "code is not a number"),
        ({"error": "x", "try": "y", "code": True}, "code is not a number"),
    ],
)
def test_refusal_with_a_wrong_field_is_refused(message: dict[str, Any], says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        broker.parse_refusal(message)
