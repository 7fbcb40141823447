"""Invariant: a host certificate is for one key and for the names that people type, and is renewed long before its end.

Pure: the time is given. With it a client that knows the CA asks nobody anything (sshd_config(5), HostCertificate).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_private_key,
    load_ssh_public_identity,
    load_ssh_public_key,
)

LIFETIME = timedelta(days=365)
RENEWED = LIFETIME / 3
"""How long before its end a certificate is made anew."""
SKEW = timedelta(minutes=10)
"""How far a client's clock may be behind."""


def sign(ca: str, public: str, names: Sequence[str], now: datetime) -> str:
    """A host certificate's line for a public key's line. Raises ValueError when a key can't be read."""
    key, authority = load_ssh_public_key(public.encode()), load_ssh_private_key(ca.encode(), None)
    if not isinstance(authority, Ed25519PrivateKey):
        raise ValueError("the host CA is no ed25519 key")
    made = (
        SSHCertificateBuilder()
        .public_key(key)  # type: ignore[arg-type]  # what it does not take it refuses
        .serial(secrets.randbits(63))
        .type(SSHCertificateType.HOST)
        .key_id(names[0].encode())
        .valid_principals([name.encode() for name in names])
        .valid_after(int((now - SKEW).timestamp()))
        .valid_before(int((now + LIFETIME).timestamp()))
        .sign(authority)
    )
    return made.public_bytes().decode() + "\n"


def serves(certificate: str, ca_public: str, public: str, names: Sequence[str], now: datetime) -> bool:
    """Whether a certificate is this CA's, for this key and these names, and far enough from its end."""
    try:
        found = load_ssh_public_identity(certificate.encode())
        if not isinstance(found, SSHCertificate):
            return False
        found.verify_cert_signature()
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        return False
    by, of = (
        key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        for key in (found.signature_key(), found.public_key())
    )
    return (
        found.type is SSHCertificateType.HOST
        and by.split()[:2] == ca_public.split()[:2]
        and of.split()[:2] == public.split()[:2]
        and found.valid_principals == [name.encode() for name in names]
        and found.valid_after <= now.timestamp() < found.valid_before - RENEWED.total_seconds()
    )
