"""Keeps the bastion's host key, its certificate and the host CA's public half.

Invariant: a valid certificate is never replaced, and a usable key never changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from devservers.reconcile.interfaces import Client, get_or_none
from devservers.reconcile.ssh.certificate_authority import HostCa
from devservers.reconcile.ssh.key_pairs import decode_entry, generate_key_pair, host_key_data, read_key_pair
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

RETRY_SECONDS = 2.0
"""After a failure: the bastion's pods wait for their key."""


class BastionHostKey:
    """Keeps the bastion's host key Secret and the ConfigMap with the host CA's public half."""

    def __init__(self, client: Client, ca: HostCa, hosts: Sequence[str], now: Callable[[], datetime]) -> None:
        """Takes `hosts`, the names that people type."""
        self._client = client
        self._ca = ca
        self._hosts = tuple(hosts)
        self._now = now

    async def run(self, seconds: float) -> None:
        """Ensures the objects every `seconds`, and soon again after a failure."""
        last_error = ""
        while True:
            try:
                await self.ensure()
                wait, last_error = seconds, ""
            except ApiError as error:
                wait = RETRY_SECONDS
                if str(error) != last_error:
                    log.warning("the bastion's host key is not in order yet: %s", error)
                last_error = str(error)
            await asyncio.sleep(wait)

    async def ensure(self) -> None:
        """Creates or renews what is missing, broken or expiring. Raises ApiError."""
        self._ca.forget()
        stored = await get_or_none(self._client, "Secret", BASTION_NAMESPACE, BASTION_HOST_KEY)
        pair = read_key_pair(stored) if stored else None
        certificate = decode_entry(stored, HOST_CERTIFICATE_FILE) if stored and pair else None
        pair = pair or generate_key_pair()
        certificate = await self._ca.certificate(pair.public, self._hosts, certificate, self._now())
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
        stored_info = await get_or_none(self._client, "ConfigMap", BASTION_NAMESPACE, BASTION_INFO)
        data = {HOST_CA_ENTRY: await self._ca.public() + "\n"}
        await self._put(
            stored_info, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(BASTION_INFO), "data": data}
        )

    async def _put(self, stored: Json | None, desired: Json) -> None:
        """Creates the object, or replaces the data that was read; another writer in between wins."""
        if stored is None:
            await self._client.create(desired)
        elif stored.get("data") != desired["data"]:
            await self._client.replace({**stored, "data": desired["data"]})


def _metadata(name: str) -> Json:
    return {"name": name, "namespace": BASTION_NAMESPACE, "labels": {LABEL_MANAGED_BY: OPERATOR}}
