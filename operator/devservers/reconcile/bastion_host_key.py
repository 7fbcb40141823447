"""The CA that vouches for host keys, and the bastion's own key.

Invariant: a certificate that serves is never replaced, a key that can be used never changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from devservers.reconcile.certificate_authority import HostCa
from devservers.reconcile.interfaces import Client
from devservers.reconcile.key_pairs import decode_entry, generate_key_pair, host_key_data, read_key_pair
from devservers_core.errors import ApiError
from devservers_core.names import (
    BASTION_HOST_KEY,
    BASTION_INFO,
    BASTION_NAMESPACE,
    HOST_CA_ENTRY,
    HOST_CERTIFICATE_FILE,
    LABEL_MANAGED_BY,
    OPERATOR,
)
from devservers_core.types import Json

log = logging.getLogger("devservers")

AGAIN_SECONDS = 2.0
"""After a failure: the bastion's pods wait for their key."""


class BastionHostKey:
    """Keeps the bastion's host key, its certificate, and what everybody may know of the CA."""

    def __init__(self, client: Client, ca: HostCa, hosts: Sequence[str], now: Callable[[], datetime]) -> None:
        """`hosts` are the names that people type."""
        self._client = client
        self._ca = ca
        self._hosts = tuple(hosts)
        self._now = now

    async def run(self, seconds: float) -> None:
        """Looks every so many seconds, and soon again after a failure."""
        said = ""
        while True:
            try:
                await self.ensure()
                wait, said = seconds, ""
            except ApiError as error:
                wait = AGAIN_SECONDS
                if str(error) != said:
                    log.warning("the bastion's host key is not in order yet: %s", error)
                said = str(error)
            await asyncio.sleep(wait)

    async def ensure(self) -> None:
        """One look. Raises ApiError."""
        self._ca.forget()
        stored = await self._stored("Secret", BASTION_HOST_KEY)
        pair = read_key_pair(stored) if stored else None
        kept = decode_entry(stored, HOST_CERTIFICATE_FILE) if stored and pair else None
        pair = pair or generate_key_pair()
        certificate = await self._ca.certificate(pair.public, self._hosts, kept, self._now())
        await self._put(
            stored,
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": _metadata(BASTION_HOST_KEY),
                "type": "Opaque",
                "data": host_key_data(pair, certificate),
            },
        )
        known = await self._stored("ConfigMap", BASTION_INFO)
        data = {HOST_CA_ENTRY: await self._ca.public() + "\n"}
        await self._put(
            known, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(BASTION_INFO), "data": data}
        )

    async def _stored(self, kind: str, name: str) -> Json | None:
        try:
            return await self._client.get(kind, BASTION_NAMESPACE, name)
        except ApiError as error:
            if not error.not_found:
                raise
            return None

    async def _put(self, stored: Json | None, wanted: Json) -> None:
        """Makes it, or writes it over what was read when they differ; another operator's write in between wins."""
        if stored is None:
            await self._client.create(wanted)
        elif stored.get("data") != wanted["data"]:
            await self._client.replace({**stored, "data": wanted["data"]})


def _metadata(name: str) -> Json:
    return {"name": name, "namespace": BASTION_NAMESPACE, "labels": {LABEL_MANAGED_BY: OPERATOR}}
