"""The key that signs plans for agents, in a Secret of the platform's namespace.

Invariant: its private half is in that Secret and in the leader's memory; a pod gets the public half only.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from devservers.reconcile.interfaces import Client, get_or_none
from devservers_core.errors import ApiError
from devservers_core.names import AGENT_KEY_ENTRY, AGENT_KEY_SECRET, LABEL_MANAGED_BY, OPERATOR
from devservers_core.types import Json

CACHE_SECONDS = 300.0
"""How long the key is used before it is read again."""


class SigningKey:
    """The Ed25519 key in Secret AGENT_KEY_SECRET, which is created when it is absent."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._private: Ed25519PrivateKey | None = None
        self._read_at = 0.0

    async def signer(self) -> Callable[[bytes], bytes]:
        """The function that signs. Raises ApiError."""
        return (await self._key()).sign

    async def public(self) -> str:
        """The public half, 32 bytes in base64. Raises ApiError."""
        key = (await self._key()).public_key()
        return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()

    async def _key(self) -> Ed25519PrivateKey:
        if self._private is None or time.monotonic() - self._read_at > CACHE_SECONDS:
            secret = await get_or_none(self._client, "Secret", self._namespace, AGENT_KEY_SECRET)
            self._private = _parse(secret or await self._create())
            self._read_at = time.monotonic()
        return self._private

    async def _create(self) -> Json:
        private = base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw())
        try:
            return await self._client.create(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {
                        "name": AGENT_KEY_SECRET,
                        "namespace": self._namespace,
                        "labels": {LABEL_MANAGED_BY: OPERATOR},
                    },
                    "type": "Opaque",
                    "data": {AGENT_KEY_ENTRY: private.decode()},
                }
            )
        except ApiError as error:
            if not error.conflict:
                raise
            return await self._client.get("Secret", self._namespace, AGENT_KEY_SECRET)


def _parse(secret: Json) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(
            base64.b64decode((secret.get("data") or {})[AGENT_KEY_ENTRY], validate=True)
        )
    except (KeyError, TypeError, ValueError):
        # Without the reason: it may quote the key.
        message = f"Secret {AGENT_KEY_SECRET} can't be used; delete it to get a new key"
        raise ApiError(0, "InvalidSecret", message) from None
