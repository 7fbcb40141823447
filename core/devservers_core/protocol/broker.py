"""Messages of the bastion's broker: requests for credentials, and answers.

A request is {"v", "want": "token" | "certificate" | "keys"} with the fields of its class below; other fields are
ignored. A refusal is {"error", "try", "code"}. Whose credentials are meant the kernel tells the broker (SO_PEERCRED);
no field names a person.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Protocol, TypeVar

from devservers_core.errors import FAILURE
from devservers_core.protocol import ProtocolError
from devservers_core.types import Json

VERSION = 1
"""Of requests and answers."""
MAX_PUBLIC_KEY_CHARACTERS = 512
"""Of a public key's line in a request for a certificate."""
NOT_A_REQUEST = "this is no request"
NOT_A_PUBLIC_KEY = "publicKey must be one ssh-ed25519 line"

A_co = TypeVar("A_co", covariant=True)


class Request(Protocol[A_co]):
    """A request whose answer is an A_co."""

    def message(self) -> Json:
        """As it is sent."""

    def parse_answer(self, message: Json) -> A_co:
        """The answer out of the broker's message. Raises ProtocolError."""


@dataclass(frozen=True)
class TokenAnswer:
    """A token for the person's own namespace, and what a client needs to use it."""

    token: str = field(repr=False)
    expires_at: str
    server: str
    certificate_authority: str
    """The API server's CA in base64; "" where the system's are meant."""
    namespace: str
    user: str

    def message(self) -> Json:
        """As it is sent."""
        return {name: getattr(self, attribute) for name, attribute in _TOKEN_FIELDS.items()}


_TOKEN_FIELDS = {
    "token": "token", "expiresAt": "expires_at", "server": "server", "certificateAuthority": "certificate_authority",
    "namespace": "namespace", "user": "user",
}  # fmt: skip


@dataclass(frozen=True)
class TokenRequest:
    """Asks for a token.

    `fresh` for another than the last one, which the cluster no longer takes.
    """

    WANT: ClassVar[str] = "token"
    fresh: bool = False

    def message(self) -> Json:
        """As it is sent."""
        return _request(self.WANT, {"fresh": True} if self.fresh else {})

    def parse_answer(self, message: Json) -> TokenAnswer:
        """The token. Raises ProtocolError."""
        values = {attribute: _text(message, name) for name, attribute in _TOKEN_FIELDS.items()}
        try:
            aware = datetime.fromisoformat(values["expires_at"]).tzinfo is not None
        except ValueError:
            aware = False
        if not aware:
            raise ProtocolError("expiresAt is not a time with its zone")
        return TokenAnswer(**values)


@dataclass(frozen=True)
class CertificateAnswer:
    """A user certificate as a .pub file has it."""

    certificate: str

    def message(self) -> Json:
        """As it is sent."""
        return {"certificate": self.certificate}


@dataclass(frozen=True)
class CertificateRequest:
    """Asks for a certificate of `public_key`, one ssh-ed25519 line."""

    WANT: ClassVar[str] = "certificate"
    public_key: str

    def message(self) -> Json:
        """As it is sent."""
        return _request(self.WANT, {"publicKey": self.public_key})

    def parse_answer(self, message: Json) -> CertificateAnswer:
        """The certificate. Raises ProtocolError."""
        return CertificateAnswer(_text(message, "certificate"))


@dataclass(frozen=True)
class KeysAnswer:
    """The person's keys, as the spec of a DevServerUser has them."""

    spec: Json

    def message(self) -> Json:
        """As it is sent."""
        return {"spec": self.spec}


@dataclass(frozen=True)
class KeysRequest:
    """Asks for the person's keys, after a change if there is one.

    `change` is {"add": {"name", "key", "expires"}} or {"remove": NAME_OR_FINGERPRINT}; `expires` may be left out.
    """

    WANT: ClassVar[str] = "keys"
    change: Mapping[str, object] = field(default_factory=dict)

    def message(self) -> Json:
        """As it is sent."""
        return _request(self.WANT, self.change)

    def parse_answer(self, message: Json) -> KeysAnswer:
        """The keys. Raises ProtocolError."""
        spec = message.get("spec")
        if not isinstance(spec, dict):
            raise ProtocolError("spec is not an object")
        for name in ("sshPublicKeys", "sshKeys"):
            if not isinstance(spec.get(name, []), list):
                raise ProtocolError(f"{name} is not a list")
        return KeysAnswer(spec)


@dataclass(frozen=True)
class Refusal:
    """The answer that says no: what is wrong, what to do, and devctl's exit code."""

    error: str
    remedy: str
    code: int = FAILURE

    def message(self) -> Json:
        """As it is sent."""
        return {"error": self.error, "try": self.remedy, "code": self.code}


def encode(message: Json) -> bytes:
    """A message as one line."""
    return json.dumps(message).encode() + b"\n"


def parse_request(line: bytes) -> TokenRequest | CertificateRequest | KeysRequest:
    """The request of a line. Raises ProtocolError."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise ProtocolError(NOT_A_REQUEST) from None
    if not isinstance(message, dict):
        raise ProtocolError(NOT_A_REQUEST)
    if message.get("v", VERSION) != VERSION:
        raise ProtocolError(f"this broker takes requests of version {VERSION}")
    match message.get("want"):
        case "token":
            fresh = message.get("fresh", False)
            if not isinstance(fresh, bool):
                raise ProtocolError("fresh must be true or false")
            return TokenRequest(fresh)
        case "certificate":
            return CertificateRequest(_public_key(message.get("publicKey")))
        case "keys":
            return KeysRequest(_change(message))
    raise ProtocolError(NOT_A_REQUEST)


def parse_refusal(message: Json) -> Refusal | None:
    """The refusal that an answer is; None for any other answer. Raises ProtocolError."""
    if "error" not in message:
        return None
    code = message.get("code", FAILURE)
    if type(code) is not int:
        raise ProtocolError("code is not a number")
    return Refusal(_text(message, "error"), _text(message, "try"), code)


def _request(want: str, fields: Mapping[str, object]) -> Json:
    return {"v": VERSION, "want": want, **fields}


def _text(message: Json, name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str):
        raise ProtocolError(f"{name} is not a string")
    return value


def _public_key(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_PUBLIC_KEY_CHARACTERS or not value.startswith("ssh-ed25519 "):
        raise ProtocolError(NOT_A_PUBLIC_KEY)
    return value


def _change(message: Json) -> Json:
    if "add" in message:
        add = message["add"]
        if not isinstance(add, dict):
            raise ProtocolError("add is not an object")
        key = {name: _text(add, name) for name in ("name", "key")}
        if add.get("expires") is not None:
            key["expires"] = _text(add, "expires")
        return {"add": key}
    return {"remove": _text(message, "remove")} if "remove" in message else {}
