"""Invariant: a certificate of ours opens servers as one person, for minutes, and can do nothing but what a session and
its forwards need. Pure.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_private_key,
    load_ssh_public_key,
)

LIFETIME = timedelta(minutes=5)
SKEW = timedelta(minutes=1)
"""How far a node's clock may be behind ours."""
EXTENSIONS = (b"permit-agent-forwarding", b"permit-port-forwarding", b"permit-pty")


class BadRequest(ValueError):
    """No certificate for this; the text says why."""


def authority(text: str) -> Ed25519PrivateKey:
    """The CA's private key out of its file. Raises ValueError, without a word of the file."""
    try:
        found = load_ssh_private_key(text.encode(), None)
    except (ValueError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, Ed25519PrivateKey):
        raise ValueError("the user CA is not an unencrypted ed25519 key") from None
    return found


def sign(ca: Ed25519PrivateKey, public_key: object, user: str, now: datetime) -> str:
    """A user certificate as a .pub file has it; the person's name is its one principal. Raises BadRequest."""
    if not isinstance(public_key, str) or len(public_key) > 512 or not public_key.startswith("ssh-ed25519 "):
        raise BadRequest("publicKey must be one ssh-ed25519 line")
    try:
        key = load_ssh_public_key(" ".join(public_key.split()[:2]).encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise BadRequest("publicKey must be one ssh-ed25519 line") from None
    builder = (
        SSHCertificateBuilder()
        .public_key(key)
        .serial(secrets.randbits(63))
        .type(SSHCertificateType.USER)
        .key_id(f"{user} through the bastion".encode())
        .valid_principals([user.encode()])
        .valid_after(int((now - SKEW).timestamp()))
        .valid_before(int((now + LIFETIME).timestamp()))
    )
    for name in EXTENSIONS:
        builder = builder.add_extension(name, b"")
    return builder.sign(ca).public_bytes().decode()
