"""OpenSSH certificates for people and for host keys (OpenSSH, PROTOCOL.certkeys).

Invariant: a certificate opens or vouches for the principals it names and nothing else. Signing and verifying are
functions that the caller gives, so that this module needs no cryptography.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from devservers_core.errors import InvalidValueError
from devservers_core.names import CERTIFICATE_TTL_SECONDS
from devservers_core.ssh_keys import InvalidKeyError, PublicKey, parse

KIND = "ssh-ed25519-cert-v01@openssh.com"
USER_LIFETIME = timedelta(seconds=CERTIFICATE_TTL_SECONDS)
USER_SKEW = timedelta(minutes=1)
"""How far a node's clock may be behind ours."""
USER_EXTENSIONS = ("permit-agent-forwarding", "permit-port-forwarding", "permit-pty")
"""What a session and its forwards need; sorted, as the format wants it."""
HOST_LIFETIME = timedelta(days=365)
HOST_RENEWAL = HOST_LIFETIME / 3
"""How long before its end a host certificate is renewed."""
HOST_SKEW = timedelta(minutes=10)
"""How far a client's clock may be behind ours."""

Verifier = Callable[[bytes, bytes, bytes], bool]
"""Whether an Ed25519 public key (32 bytes) made a signature (64 bytes) of a message, in this order."""


class InvalidCertificateError(InvalidValueError):
    """Not a certificate that can be read."""


class CertificateType(IntEnum):
    """What a certificate is for."""

    USER = 1
    HOST = 2


@dataclass(frozen=True)
class Authority:
    """A certificate authority: its public key, and a function that signs."""

    public: PublicKey
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True)
class Certificate:
    """A certificate's fields, as read from its line."""

    type: CertificateType
    key: PublicKey
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    signed_by: PublicKey
    message: bytes
    """What is signed."""
    signature: bytes


def user_certificate(ca: Authority, key: PublicKey, user: str, now: datetime) -> str:
    """A line that lets `key` into a user's servers; the user is its one principal. Raises InvalidKeyError."""
    validity = (now - USER_SKEW, now + USER_LIFETIME)
    return _signed(ca, CertificateType.USER, key, f"{user} through the bastion", [user], validity, USER_EXTENSIONS)


def host_certificate(ca: Authority, key: PublicKey, names: Sequence[str], now: datetime) -> str:
    """A line that vouches for a host key under these names. Raises InvalidKeyError."""
    validity = (now - HOST_SKEW, now + HOST_LIFETIME)
    return _signed(ca, CertificateType.HOST, key, names[0], names, validity, ())


def host_certificate_serves(
    line: str, ca: PublicKey, key: PublicKey, names: Sequence[str], now: datetime, verify: Verifier
) -> bool:
    """Whether a host certificate is this CA's, for this key and these names, and far enough from its end."""
    try:
        certificate = read(line)
    except InvalidCertificateError:
        return False
    return (
        certificate.type is CertificateType.HOST
        and certificate.signed_by == ca
        and certificate.key == key
        and certificate.principals == tuple(names)
        and certificate.valid_after <= now.timestamp() < certificate.valid_before - HOST_RENEWAL.total_seconds()
        and verify(_raw(ca), certificate.signature, certificate.message)
    )


def read(line: str) -> Certificate:
    """The certificate of a line, its signature unverified. Raises InvalidCertificateError."""
    fields = line.split()
    try:
        blob = base64.b64decode(fields[1], validate=True) if len(fields) > 1 and fields[0] == KIND else b""
        at = _Reader(blob)
        kind, _nonce, raw = at.string(), at.string(), at.string()
        _serial, type_, _key_id = at.number(8), CertificateType(at.number(4)), at.string()
        principals = tuple(principal.decode() for principal in _strings(at.string()))
        after, before = at.number(8), at.number(8)
        _options, _extensions, _reserved = at.string(), at.string(), at.string()
        signed_by = parse(f"ssh-ed25519 {base64.b64encode(at.string()).decode()}")
        message = blob[: at.position]
        algorithm, signature = _strings(at.string())
    except (ValueError, binascii.Error, struct.error):
        raise InvalidCertificateError("not a certificate of an ed25519 key") from None
    if kind.decode(errors="replace") != KIND or algorithm != b"ssh-ed25519" or at.position != len(blob):
        raise InvalidCertificateError("not a certificate of an ed25519 key")
    return Certificate(type_, _public(raw), principals, after, before, signed_by, message, signature)


def _signed(
    ca: Authority,
    type_: CertificateType,
    key: PublicKey,
    key_id: str,
    principals: Sequence[str],
    validity: tuple[datetime, datetime],
    extensions: Sequence[str],
) -> str:
    after, before = (int(time.timestamp()) for time in validity)
    message = b"".join(
        (
            _string(KIND.encode()),
            _string(secrets.token_bytes(32)),
            _string(_raw(key)),
            struct.pack(">QI", secrets.randbits(63), type_),
            _string(key_id.encode()),
            _string(b"".join(_string(principal.encode()) for principal in principals)),
            struct.pack(">QQ", after, before),
            _string(b""),
            _string(b"".join(_string(extension.encode()) + _string(b"") for extension in extensions)),
            _string(b""),
            _string(base64.b64decode(ca.public.body)),
        )
    )
    signature = _string(_string(b"ssh-ed25519") + _string(ca.sign(message)))
    return f"{KIND} {base64.b64encode(message + signature).decode()}"


def _raw(key: PublicKey) -> bytes:
    """The 32 bytes of an Ed25519 key. Raises InvalidKeyError."""
    blob = base64.b64decode(key.body)
    if key.kind != "ssh-ed25519" or len(blob) != len(_string(b"ssh-ed25519")) + 4 + 32:
        raise InvalidKeyError("not an ed25519 key")
    return blob[-32:]


def _public(raw: bytes) -> PublicKey:
    return PublicKey("ssh-ed25519", base64.b64encode(_string(b"ssh-ed25519") + _string(raw)).decode())


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _strings(value: bytes) -> list[bytes]:
    at, strings = _Reader(value), []
    while at.position < len(value):
        strings.append(at.string())
    return strings


class _Reader:
    """Reads a blob from its beginning. Raises struct.error at its end."""

    def __init__(self, blob: bytes) -> None:
        self._blob = blob
        self.position = 0

    def number(self, size: int) -> int:
        """An unsigned number of 4 or 8 bytes."""
        (value,) = struct.unpack_from({4: ">I", 8: ">Q"}[size], self._blob, self.position)
        self.position += size
        return int(value)

    def string(self) -> bytes:
        """A string with its length before it."""
        size = self.number(4)
        if self.position + size > len(self._blob):
            raise struct.error("shorter than it says")
        self.position += size
        return self._blob[self.position - size : self.position]
