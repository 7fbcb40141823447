"""Applies the manifests of children, and writes only what differs.

Invariant: ensure() on a settled object writes nothing. If the API server's answer to an apply still differs (a webhook
or a normalisation undid it), the applier remembers that difference and doesn't apply it again until either side
changes; it remembers a refused apply the same way, for ten minutes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from devservers.reconcile.compare import differences, digest, with_applied_hash
from devservers.reconcile.interfaces import Client, Lister
from devservers_core.errors import ApiError
from devservers_core.types import Json

log = logging.getLogger("devservers.reconcile")

REFUSAL_SECONDS = 600.0

# Kinds that lose nothing when they are deleted and created again, after an edit that no apply can correct (a second
# port without a name, another roleRef).
_RECREATABLE_KINDS = frozenset({"Service", "ConfigMap", "RoleBinding"})


@dataclass
class _IneffectiveWrite:
    """A write that is known to have no effect, and the refusal if there was one."""

    digest: str
    until: float
    error: ApiError | None = None


class Applier:
    """Applies manifests through a Client and reads through a Lister."""

    def __init__(self, lister: Lister, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._lister = lister
        self._client = client
        self._clock = clock
        self._ineffective: dict[tuple[str, str, str], _IneffectiveWrite] = {}

    async def ensure(self, desired: Json) -> Json:
        """The live object, after an apply if one is needed. Raises ApiError when refused."""
        kind, metadata = desired["kind"], desired["metadata"]
        address = (kind, metadata.get("namespace", ""), metadata["name"])
        live = self._lister.get(*address)
        manifest = with_applied_hash(desired)
        if live is not None and live["metadata"].get("deletionTimestamp"):
            return live  # its DELETED event enqueues the key again
        changed_fields = _differences(manifest, live)
        if live is not None and not changed_fields:
            self._ineffective.pop(address, None)
            return live
        write = digest([manifest, changed_fields, live["metadata"].get("uid") if live else None])
        ineffective = self._ineffective.get(address)
        if ineffective is not None and ineffective.digest == write and self._clock() < ineffective.until:
            if ineffective.error is not None:
                raise ineffective.error
            if live is not None:
                return live
        if live is not None:
            log.info("restoring or updating %s/%s/%s fields=%s", *address, ",".join(changed_fields[:5]))
        try:
            answer = await self._apply(manifest, live)
        except ApiError as error:
            if error.refused and live is not None:
                self._ineffective[address] = _IneffectiveWrite(write, self._clock() + REFUSAL_SECONDS, error)
            raise
        self._lister.put(answer)
        remaining = _differences(manifest, answer)
        if remaining:
            log.warning("apply has no effect on %s/%s/%s fields=%s", *address, ",".join(remaining[:5]))
            repeated = digest([manifest, remaining, answer["metadata"].get("uid")])
            self._ineffective[address] = _IneffectiveWrite(repeated, float("inf"))
        else:
            self._ineffective.pop(address, None)
        return answer

    async def _apply(self, manifest: Json, live: Json | None) -> Json:
        try:
            return await self._client.apply(manifest)
        except ApiError as error:
            if live is None or error.status != 422 or manifest["kind"] not in _RECREATABLE_KINDS:
                raise
            log.warning("apply can not correct it, created again kind=%s error=%s", manifest["kind"], error.message)
        await self.remove(live)
        return await self._client.apply(manifest)

    async def remove(self, live: Json) -> None:
        """Deletes that very object, by uid."""
        metadata = live["metadata"]
        try:
            await self._client.delete(
                live["kind"], metadata.get("namespace", ""), metadata["name"], metadata.get("uid", "")
            )
        except ApiError as error:
            if not error.conflict:  # another object has that name by now
                raise


def _differences(manifest: Json, live: Json | None) -> list[str]:
    return ["(missing)"] if live is None else list(differences(manifest, live))
