"""The certificate authorities of the platform, each in a Secret of the operator's namespace."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

from devservers.build.host_certificate import serves, sign
from devservers.reconcile.interfaces import Client
from devservers.reconcile.key_pairs import decode_entry, encode_text, generate_key_pair
from devservers_core.errors import ApiError
from devservers_core.names import HOST_CA_SECRET, LABEL_MANAGED_BY, OPERATOR, USER_CA_SECRET
from devservers_core.types import Json

CACHE_SECONDS = 300.0
"""How long a CA's public half is used before it is read again."""


class CertificateAuthority:
    """A CA in a Secret of the operator's namespace, made when it is absent. Only its public half is kept in memory."""

    def __init__(self, client: Client, namespace: str, name: str) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._public: str | None = None
        self._read_at = 0.0

    def forget(self) -> None:
        """Reads the Secret again at the next use, so that a replaced CA is noticed."""
        self._public = None

    async def public(self) -> str:
        """The CA's public line, at most so old that a replaced CA is soon noticed. Raises ApiError."""
        if self._public is None or time.monotonic() - self._read_at > CACHE_SECONDS:
            self._public = _entry(await self._read_or_make(), "ca.pub")
            self._read_at = time.monotonic()
        return self._public

    async def private(self) -> str:
        """Its private key, as OpenSSH writes it; read for each use. Raises ApiError."""
        return _entry(await self._read_or_make(), "ca")

    async def _read_or_make(self) -> Json:
        try:
            return await self._client.get("Secret", self._namespace, self._name)
        except ApiError as error:
            if not error.not_found:
                raise
            return await self._make()

    async def _make(self) -> Json:
        pair = generate_key_pair()
        try:
            return await self._client.create(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {
                        "name": self._name,
                        "namespace": self._namespace,
                        "labels": {LABEL_MANAGED_BY: OPERATOR},
                    },
                    "type": "Opaque",
                    "data": {"ca": encode_text(pair.private), "ca.pub": encode_text(pair.public + "\n")},
                }
            )
        except ApiError as error:
            if not error.conflict:
                raise
            return await self._client.get("Secret", self._namespace, self._name)


class UserCa(CertificateAuthority):
    """The CA whose certificates open the inner SSH hop."""

    def __init__(self, client: Client, namespace: str) -> None:
        super().__init__(client, namespace, USER_CA_SECRET)


class HostCa(CertificateAuthority):
    """The CA whose word spares people every question about a host key."""

    def __init__(self, client: Client, namespace: str) -> None:
        super().__init__(client, namespace, HOST_CA_SECRET)

    async def certificate(self, public: str, names: Sequence[str], known: str | None, now: datetime) -> str:
        """`known` if it serves, else a new certificate. Raises ApiError."""
        if known and serves(known, await self.public(), public, names, now):
            return known
        try:
            return sign(await self.private(), public, names, now)
        except ValueError:
            # Without the reason: it may quote the key.
            text = f"Secret {HOST_CA_SECRET} can't be used; delete it to get a new CA"
            raise ApiError(0, "InvalidSecret", text) from None


def _entry(secret: Json, name: str) -> str:
    found = decode_entry(secret, name)
    if not found:
        whole = secret["metadata"]["name"]
        raise ApiError(0, "InvalidSecret", f"Secret {whole} has no readable {name}; delete it to get a new CA")
    return found.strip() + "\n" if name == "ca" else found.strip()
