"""Host certificates, signed by the host CA for one key and a list of names.

A client that knows the CA asks nothing about a host key (sshd_config(5), HostCertificate). Pure: the time is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from devservers_core import ssh_certs, ssh_keys


def sign(ca: str, public: str, names: Sequence[str], now: datetime) -> str:
    """The certificate's line for a public key's line. Raises ValueError when a key can't be read."""
    private = load_ssh_private_key(ca.encode(), None)
    if not isinstance(private, Ed25519PrivateKey):
        raise ValueError("the host CA is no ed25519 key")
    ca_public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    authority = ssh_certs.Authority(ssh_keys.parse(ca_public), private.sign)
    return ssh_certs.host_certificate(authority, ssh_keys.parse(public.strip()), names, now) + "\n"


def serves(certificate: str, ca_public: str, public: str, names: Sequence[str], now: datetime) -> bool:
    """Whether a certificate is this CA's, for this key and these names, and far from its end."""
    try:
        ca, key = ssh_keys.parse(ca_public.strip()), ssh_keys.parse(public.strip())
    except ssh_keys.InvalidKeyError:
        return False
    return ssh_certs.host_certificate_serves(certificate, ca, key, names, now, _verify)


def _verify(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True
