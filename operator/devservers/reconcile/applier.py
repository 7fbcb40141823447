"""Brings children to what was built, writing only what differs and never the same futile thing twice.

Invariant: ensure() on a settled object writes nothing. If the API server answers an apply with something
that still differs (a webhook or a normalisation undid it), that very difference is remembered and not
fought again until either side changes; a refused apply is remembered the same way, for ten minutes.
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

# Kinds that lose nothing by being made anew, when somebody's edit left one that can't be mended in place (a
# nameless
# second port, another roleRef).
_REMAKABLE = frozenset({"Service", "ConfigMap", "RoleBinding"})


@dataclass
class _Futile:
    """A write known not to help: what it was, until when that is believed, and the refusal if there was
    one.
    """

    what: str
    until: float
    error: ApiError | None = None


class Applier:
    """Applies manifests through a Lister and a Client."""

    def __init__(self, lister: Lister, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._lister = lister
        self._client = client
        self._clock = clock
        self._futile: dict[tuple[str, str, str], _Futile] = {}

    async def ensure(self, desired: Json) -> Json:
        """The live object, after applying if that changes anything of ours. Raises ApiError when refused."""
        kind, metadata = desired["kind"], desired["metadata"]
        place = (kind, metadata.get("namespace", ""), metadata["name"])
        live = self._lister.get(*place)
        wanted = with_applied_hash(desired)
        if live is not None and live["metadata"].get("deletionTimestamp"):
            return live  # on its way out: its DELETED event brings us back
        found = _differences(wanted, live)
        if live is not None and not found:
            self._futile.pop(place, None)
            return live
        what = digest([wanted, found, live["metadata"].get("uid") if live else None])
        futile = self._futile.get(place)
        if futile is not None and futile.what == what and self._clock() < futile.until:
            if futile.error is not None:
                raise futile.error
            if live is not None:
                return live
        if live is not None:
            log.info("restoring or updating %s/%s/%s fields=%s", *place, ",".join(found[:5]))
        try:
            answer = await self._apply(wanted, live)
        except ApiError as error:
            if error.refused and live is not None:
                self._futile[place] = _Futile(what, self._clock() + REFUSAL_SECONDS, error)
            raise
        self._lister.put(answer)
        left = _differences(wanted, answer)
        if left:
            log.warning("apply has no effect on %s/%s/%s fields=%s", *place, ",".join(left[:5]))
            again = digest([wanted, left, answer["metadata"].get("uid")])
            self._futile[place] = _Futile(again, float("inf"))
        else:
            self._futile.pop(place, None)
        return answer

    async def _apply(self, wanted: Json, live: Json | None) -> Json:
        try:
            return await self._client.apply(wanted)
        except ApiError as error:
            if live is None or error.status != 422 or wanted["kind"] not in _REMAKABLE:
                raise
            log.warning("can't be mended, made anew kind=%s error=%s", wanted["kind"], error.message)
        await self.remove(live)
        return await self._client.apply(wanted)

    async def remove(self, live: Json) -> None:
        """Deletes that very object (by uid)."""
        metadata = live["metadata"]
        try:
            await self._client.delete(
                live["kind"], metadata.get("namespace", ""), metadata["name"], metadata.get("uid", "")
            )
        except ApiError as error:
            if not error.conflict:  # another object of that name by now: not ours to delete
                raise


def _differences(wanted: Json, live: Json | None) -> list[str]:
    return ["(missing)"] if live is None else list(differences(wanted, live))
