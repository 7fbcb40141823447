"""The platform's SSH certificate authorities, each in a Secret of its namespace.

Invariant: only the public half is kept in memory.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

from devservers.build.host_certificate import serves, sign
from devservers.reconcile.interfaces import Client, get_or_none
from devservers.reconcile.ssh.key_pairs import decode_entry, encode_text, generate_key_pair
from devservers_core.errors import ApiError
from devservers_core.names import HOST_CA_SECRET, LABEL_MANAGED_BY, OPERATOR, USER_CA_SECRET
from devservers_core.types import Json

CACHE_SECONDS = 300.0
"""How long a CA's public half is used before it is read again."""


class CertificateAuthority:
    """An authority in a Secret, which is created when it is absent."""

    def __init__(self, client: Client, namespace: str, name: str) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._public: str | None = None
        self._read_at = 0.0

    def forget(self) -> None:
        """Makes the next use read the Secret again, so that a replaced authority is noticed."""
        self._public = None

    async def public(self) -> str:
        """The public key's line, cached for CACHE_SECONDS. Raises ApiError."""
        if self._public is None or time.monotonic() - self._read_at > CACHE_SECONDS:
            self._public = _entry(await self._read_or_create(), "ca.pub")
            self._read_at = time.monotonic()
        return self._public

    async def private(self) -> str:
        """The private key as OpenSSH writes it, read for each use. Raises ApiError."""
        return _entry(await self._read_or_create(), "ca")

    async def _read_or_create(self) -> Json:
        return await get_or_none(self._client, "Secret", self._namespace, self._name) or await self._create()

    async def _create(self) -> Json:
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
    """The user CA: servers accept the certificates it signs for the SSH connection from the bastion."""

    def __init__(self, client: Client, namespace: str) -> None:
        super().__init__(client, namespace, USER_CA_SECRET)


class HostCa(CertificateAuthority):
    """The host CA: signs host keys, so that clients that know it never ask about one."""

    def __init__(self, client: Client, namespace: str) -> None:
        super().__init__(client, namespace, HOST_CA_SECRET)

    async def certificate(self, public: str, names: Sequence[str], current: str | None, now: datetime) -> str:
        """`current` if it is still valid for these names, else a new certificate. Raises ApiError."""
        if current and serves(current, await self.public(), public, names, now):
            return current
        try:
            return sign(await self.private(), public, names, now)
        except ValueError:
            # Without the reason: it may quote the key.
            message = f"Secret {HOST_CA_SECRET} can't be used; delete it to get a new CA"
            raise ApiError(0, "InvalidSecret", message) from None


def _entry(secret: Json, name: str) -> str:
    text = decode_entry(secret, name)
    if not text:
        secret_name = secret["metadata"]["name"]
        raise ApiError(0, "InvalidSecret", f"Secret {secret_name} has no readable {name}; delete it to get a new CA")
    return text.strip() + "\n" if name == "ca" else text.strip()
