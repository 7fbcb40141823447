"""Makes the ed25519 keys the operator owns: one host key per home, two CAs per cluster.

Invariant: a private key exists only in the Secret it was made for; it is never logged, cached or put in a
status.
"""

from __future__ import annotations

import base64
import binascii
import time
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

from devservers.reconcile.ports import Cluster
from devservers_core.errors import ApiError
from devservers_core.names import LABEL_MANAGED_BY, OPERATOR, USER_CA_SECRET
from devservers_core.types import Json


class KeyPair(NamedTuple):
    """An OpenSSH private key file and its public line (without a comment)."""

    private: str
    public: str


def generate() -> KeyPair:
    """A new ed25519 key."""
    key = Ed25519PrivateKey.generate()
    return KeyPair(
        key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(),
        key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(),
    )


def matches(private: str, public: str) -> bool:
    """True when the private key can be read and its public half is that line (comments don't count)."""
    try:
        key = load_ssh_private_key(private.encode(), None)
    except (ValueError, UnsupportedAlgorithm):
        return False
    half = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return half.split()[:2] == public.split()[:2]


def decoded(secret: Json, name: str) -> str | None:
    """One entry of a Secret's data as text, None when it is missing or isn't text."""
    try:
        return base64.b64decode((secret.get("data") or {})[name], validate=True).decode()
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None


def encoded(text: str) -> str:
    """Text as a Secret's data has it."""
    return base64.b64encode(text.encode()).decode()


KNOWN_SECONDS = 300.0
"""How long a CA's public half is used before it is read again."""


class Ca:
    """A CA in a Secret of the operator's namespace, made when it is absent. Only its public half is kept in memory."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._public: str | None = None
        self._read_at = 0.0

    def forget(self) -> None:
        """Reads the Secret again at the next use, so that a replaced CA is noticed."""
        self._public = None

    async def public(self) -> str:
        """The CA's public line, at most so old that a replaced CA is soon noticed. Raises ApiError."""
        if self._public is None or time.monotonic() - self._read_at > KNOWN_SECONDS:
            self._public = _entry(await self._read_or_make(), "ca.pub")
            self._read_at = time.monotonic()
        return self._public

    async def private(self) -> str:
        """Its private key, as OpenSSH writes it; read for each use. Raises ApiError."""
        return _entry(await self._read_or_make(), "ca")

    async def _read_or_make(self) -> Json:
        try:
            return await self._cluster.get("Secret", self._namespace, self._name)
        except ApiError as error:
            if not error.not_found:
                raise
            return await self._make()

    async def _make(self) -> Json:
        pair = generate()
        try:
            return await self._cluster.create(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {
                        "name": self._name,
                        "namespace": self._namespace,
                        "labels": {LABEL_MANAGED_BY: OPERATOR},
                    },
                    "type": "Opaque",
                    "data": {"ca": encoded(pair.private), "ca.pub": encoded(pair.public + "\n")},
                }
            )
        except ApiError as error:
            if not error.conflict:
                raise
            return await self._cluster.get("Secret", self._namespace, self._name)


class UserCa(Ca):
    """The CA whose certificates open the inner SSH hop."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        super().__init__(cluster, namespace, USER_CA_SECRET)


def _entry(secret: Json, name: str) -> str:
    found = decoded(secret, name)
    if not found:
        whole = secret["metadata"]["name"]
        raise ApiError(0, "InvalidSecret", f"Secret {whole} has no readable {name}; delete it to get a new CA")
    return found.strip() + "\n" if name == "ca" else found.strip()
