"""The user CA as the broker holds it, and the certificates it signs for people.

Invariant: a certificate opens servers as one person, for minutes, and allows what a session and its forwards need.
"""

from __future__ import annotations

from datetime import datetime

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from devservers_core import ssh_certs, ssh_keys
from devservers_core.protocol import ProtocolError
from devservers_core.protocol.broker import NOT_A_PUBLIC_KEY


def load_authority(text: str) -> ssh_certs.Authority:
    """The CA out of its private key's file. Raises ValueError, whose text has nothing of the file."""
    try:
        private_key = load_ssh_private_key(text.encode(), None)
    except (ValueError, UnsupportedAlgorithm):
        private_key = None
    if not isinstance(private_key, Ed25519PrivateKey):
        raise ValueError("the user CA is not an unencrypted ed25519 key") from None
    public = private_key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return ssh_certs.Authority(ssh_keys.parse(public), private_key.sign)


def sign(ca: ssh_certs.Authority, public_key: str, user: str, now: datetime) -> str:
    """A user certificate as a .pub file has it; the person's name is its one principal. Raises ProtocolError."""
    key = ssh_keys.ed25519(public_key)
    try:
        if key is not None:
            return ssh_certs.user_certificate(ca, key, user, now)
    except ssh_keys.InvalidKeyError:
        pass
    raise ProtocolError(NOT_A_PUBLIC_KEY)
