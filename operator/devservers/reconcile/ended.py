"""Keeps a record of each server's last end for a week, and removes old ones."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import datetime

from devservers.api.devserver import DevServer
from devservers.api.user import DevServerUser
from devservers.build.manifest import owner_reference
from devservers.observe.ends.ended import End, completed, ended_config_map, surplus
from devservers.observe.ends.last_output import has_ended, last_output
from devservers.reconcile.interfaces import Client, get_or_none
from devservers_core.errors import ApiError
from devservers_core.names import LABEL_ENDED, ended_name
from devservers_core.types import Json

log = logging.getLogger("devservers.reconcile")

MAX_WRITTEN = 4096
"""Servers whose last record this process remembers; a read of the record takes its place."""
PRUNE_SECONDS = 3600.0
"""Between two looks at a person's records when nothing of theirs ends; the first is that long after the start."""


class EndedRecords:
    """The ConfigMaps `<server>-ended` in users' namespaces.

    A failure is logged and nothing else: it must never keep a server from being stopped.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._pruned: dict[str, float] = {}
        self._written: dict[tuple[str, str], tuple[str, bool]] = {}
        """Of the record that this process wrote last for each of the last servers: its pod, whether it has lines."""
        self._completed: dict[tuple[str, str], set[str]] = {}
        """The pods of each server, by uid, of which nothing more is to be added."""
        self._since = time.monotonic()

    async def write(self, server: DevServer, user: DevServerUser | None, end: End, now: datetime) -> None:
        """Replaces the record of `server`, and removes what is too much.

        It outlives the server and goes with the user: what stays of a namespace then is its homes.
        """
        record = ended_config_map(server, end)
        if user is not None and user.metadata.uid:
            record["metadata"]["ownerReferences"] = [owner_reference(user)]
        try:
            await self._client.apply(record)
        except ApiError as error:
            log.warning("no record of an end key=%s/%s error=%s", *server.key, error)
            return
        self._written.pop(server.key, None)
        self._written[server.key] = (end.pod, bool(end.lines))
        if len(self._written) > MAX_WRITTEN:
            del self._written[next(iter(self._written))]
        await self.prune(server.metadata.namespace, now, at_once=True)

    async def complete(self, namespace: str, name: str, server_pods: Iterable[Json]) -> None:
        """Adds to the record of a server's end what its pod left, once the pod has ended.

        The end is recorded when it begins, and up to a grace period later the pod says what it printed last.
        """
        key = (namespace, name)
        ended = {str(pod["metadata"].get("uid") or ""): pod for pod in server_pods if has_ended(pod)}
        completed = self._completed.pop(key, set()) & ended.keys()
        if not ended:
            return
        self._completed[key] = completed
        for uid in ended.keys() - completed:
            try:
                await self._complete(key, ended[uid])
            except ApiError as error:
                log.warning("a record of an end stays without lines key=%s/%s error=%s", *key, error)
                continue
            completed.add(uid)

    async def _complete(self, key: tuple[str, str], pod: Json) -> None:
        name, left, written = str(pod["metadata"]["name"]), last_output(pod), self._written.get(key)
        if not left.lines or (written is not None and written != (name, False)):
            return
        record = await get_or_none(self._client, "ConfigMap", key[0], ended_name(key[1]))
        complete = completed(record, name, left) if record is not None else None
        if complete is not None:
            await self._client.apply(complete)

    async def mark_deleted(self, server: DevServer, user: DevServerUser, end: End, now: datetime) -> None:
        """Notes that a stopped server was deleted; its lines and its reason stay."""
        try:
            record = await get_or_none(self._client, "ConfigMap", server.metadata.namespace, ended_name(server.name))
        except ApiError as error:
            log.warning("no record of a deletion key=%s/%s error=%s", *server.key, error)
            return
        data = (record or {}).get("data") or {}
        kills = str(data.get("oomKills") or "")
        before = End(
            end.at,
            str(data.get("reason") or end.reason),
            str(data.get("message") or end.message),
            deleted=True,
            lines=str(data.get("lines") or "").split("\n") if data.get("lines") else (),
            runs=str(data.get("runs") or ""),
            oom_kills=int(kills) if kills.isdecimal() else None,
            pod=str(data.get("pod") or ""),
        )
        await self.write(server, user, before, now)

    async def prune(self, namespace: str, now: datetime, *, at_once: bool = False) -> None:
        """Deletes the records that are too old or too many, once an hour unless `at_once`."""
        before = self._pruned.get(namespace, self._since)
        if not at_once and time.monotonic() - before < PRUNE_SECONDS:
            return
        try:
            records: list[Json] = await self._client.list("ConfigMap", namespace, f"{LABEL_ENDED}=true")
            for record in surplus(records, now):
                metadata = record["metadata"]
                await self._client.delete("ConfigMap", namespace, metadata["name"], metadata.get("uid", ""))
        except ApiError as error:
            log.warning("records of ends stay namespace=%s error=%s", namespace, error)
            return
        self._pruned[namespace] = time.monotonic()
