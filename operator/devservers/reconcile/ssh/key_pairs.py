"""Generates and reads ed25519 key pairs in OpenSSH's formats.

Invariant: a private key exists only in the Secret it was generated for; it is never logged, cached or put into a
status.
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from devservers_core.names import HOST_CERTIFICATE_FILE, HOST_KEY_FILE, HOST_KEY_PUBLIC_FILE
from devservers_core.types import Json


class KeyPair(NamedTuple):
    """An OpenSSH private key file and its public line (without a comment)."""

    private: str
    public: str


def generate_key_pair() -> KeyPair:
    """A new ed25519 key."""
    key = Ed25519PrivateKey.generate()
    return KeyPair(
        key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(),
        key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(),
    )


def is_key_pair(private: str, public: str) -> bool:
    """Whether the private key can be read and its public half is that line, comments aside."""
    try:
        key = load_ssh_private_key(private.encode(), None)
    except (ValueError, UnsupportedAlgorithm):
        return False
    public_line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return public_line.split()[:2] == public.split()[:2]


def decode_entry(secret: Json, name: str) -> str | None:
    """One entry of a Secret's data as text, None when it is missing or isn't text."""
    try:
        return base64.b64decode((secret.get("data") or {})[name], validate=True).decode()
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None


def encode_text(text: str) -> str:
    """Text in base64, as a Secret's data holds it."""
    return base64.b64encode(text.encode()).decode()


def read_key_pair(secret: Json) -> KeyPair | None:
    """The key pair in a host key Secret, None when it is broken."""
    private, public = decode_entry(secret, HOST_KEY_FILE), decode_entry(secret, HOST_KEY_PUBLIC_FILE)
    if private is None or public is None or not is_key_pair(private, public):
        return None
    return KeyPair(private, public)


def host_key_data(pair: KeyPair, certificate: str) -> dict[str, str]:
    """The data of a host key Secret."""
    texts = {HOST_KEY_FILE: pair.private, HOST_KEY_PUBLIC_FILE: pair.public, HOST_CERTIFICATE_FILE: certificate}
    return {name: encode_text(text) for name, text in texts.items()}
