"""The CA that vouches for host keys, and the bastion's own key.

Invariant: a certificate that serves is never replaced, a key that can be used never changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from devservers.build.hostcert import serves, sign
from devservers.reconcile.ports import Cluster
from devservers.reconcile.sshkeys import Ca, KeyPair, decoded, encoded, generate, matches
from devservers_core.errors import ApiError
from devservers_core.names import (
    BASTION_HOST_KEY,
    BASTION_INFO,
    BASTION_NAMESPACE,
    HOST_CA_ENTRY,
    HOST_CA_SECRET,
    HOST_CERTIFICATE_FILE,
    HOST_KEY_FILE,
    HOST_KEY_PUBLIC_FILE,
    LABEL_MANAGED_BY,
    OPERATOR,
)
from devservers_core.types import Json

log = logging.getLogger("devservers")

AGAIN_SECONDS = 2.0
"""After a failure: the bastion's pods wait for their key."""


class HostCa(Ca):
    """The CA whose word spares people every question about a host key."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        super().__init__(cluster, namespace, HOST_CA_SECRET)

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


class BastionKeys:
    """Keeps the bastion's host key, its certificate, and what everybody may know of the CA."""

    def __init__(self, cluster: Cluster, ca: HostCa, hosts: Sequence[str], now: Callable[[], datetime]) -> None:
        """`hosts` are the names that people type."""
        self._cluster = cluster
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
        pair = usable(stored) if stored else None
        kept = decoded(stored, HOST_CERTIFICATE_FILE) if stored and pair else None
        pair = pair or generate()
        certificate = await self._ca.certificate(pair.public, self._hosts, kept, self._now())
        await self._put(
            stored,
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": _metadata(BASTION_HOST_KEY),
                "type": "Opaque",
                "data": files(pair, certificate),
            },
        )
        known = await self._stored("ConfigMap", BASTION_INFO)
        data = {HOST_CA_ENTRY: await self._ca.public() + "\n"}
        await self._put(
            known, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(BASTION_INFO), "data": data}
        )

    async def _stored(self, kind: str, name: str) -> Json | None:
        try:
            return await self._cluster.get(kind, BASTION_NAMESPACE, name)
        except ApiError as error:
            if not error.not_found:
                raise
            return None

    async def _put(self, stored: Json | None, wanted: Json) -> None:
        """Makes it, or writes it over what was read when they differ; another operator's write in between wins."""
        if stored is None:
            await self._cluster.create(wanted)
        elif stored.get("data") != wanted["data"]:
            await self._cluster.replace({**stored, "data": wanted["data"]})


def usable(secret: Json) -> KeyPair | None:
    """The key in a Secret, None when it is broken."""
    private, public = decoded(secret, HOST_KEY_FILE), decoded(secret, HOST_KEY_PUBLIC_FILE)
    if private is None or public is None or not matches(private, public):
        return None
    return KeyPair(private, public)


def files(pair: KeyPair, certificate: str) -> dict[str, str]:
    """A host key Secret's data."""
    found = {HOST_KEY_FILE: pair.private, HOST_KEY_PUBLIC_FILE: pair.public, HOST_CERTIFICATE_FILE: certificate}
    return {name: encoded(text) for name, text in found.items()}


def _metadata(name: str) -> Json:
    return {"name": name, "namespace": BASTION_NAMESPACE, "labels": {LABEL_MANAGED_BY: OPERATOR}}
