"""Hands out Unix user ids: highest ever + 1 from 20000, never twice, never back.

Invariant: a uid is given only by a successful write of ConfigMap user-uids that named the version it was
read at, and an entry is never removed; so two operators, or one that lost its memory, can't give the same
uid to two people, and files on an old volume never come to belong to somebody new. The namespaces with homes
that outlive an uninstallation carry their user's uid as an annotation, and count as given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from devservers.reconcile.interfaces import Client
from devservers_core.errors import ApiError
from devservers_core.names import (
    ANNOTATION_USER_UID,
    FIRST_UID,
    LABEL_MANAGED_BY,
    LABEL_NAMESPACE_CREATED_BY,
    LABEL_NAMESPACE_USER,
    OPERATOR,
)
from devservers_core.types import Json

CONFIG_MAP = "user-uids"
_ATTEMPTS = 10


class UidAllocator:
    """The uid of each user name, remembered after the first read."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._known: dict[str, int] = {}

    async def allocate(
        self, username: str, recorded: int | None = None, kept: Callable[[], Mapping[str, int]] = dict
    ) -> int:
        """The user's uid, given now if they have none.

        recorded: what their status says already; it is kept if the ConfigMap was lost and nobody else has it.
        kept: gives the uids that namespaces remember (see :func:`recorded_uids`), taken over where the ConfigMap has
        none. Reading them takes a look at every namespace, so they are asked for only when the user has no uid yet.
        Raises ApiError, 409 after ten lost races.
        """
        if username in self._known:
            return self._known[username]
        for _ in range(_ATTEMPTS):
            config_map = await self._read()
            given = {name: int(uid) for name, uid in (config_map.get("data") or {}).items() if uid.isdigit()}
            self._known.update(given)
            if username in given:
                return given[username]
            # Also what was given since the list was lost, if it was.
            known = {**kept(), **self._known}
            old = {name: uid for name, uid in known.items() if name not in given and uid not in given.values()}
            uid = old.pop(username, None) or next_uid({**given, **old}, recorded)
            added = {name: str(value) for name, value in {**old, username: uid}.items()}
            try:
                await self._write(config_map, {**(config_map.get("data") or {}), **added})
            except ApiError as error:
                if not error.conflict:
                    raise
                continue
            self._known[username] = uid
            return uid
        raise ApiError(409, "Conflict", f"ConfigMap {CONFIG_MAP} changes faster than it can be written")

    async def _read(self) -> Json:
        try:
            return await self._client.get("ConfigMap", self._namespace, CONFIG_MAP)
        except ApiError as error:
            if not error.not_found:
                raise
            return {}

    async def _write(self, config_map: Json, data: dict[str, str]) -> None:
        if config_map:
            await self._client.replace({**config_map, "data": data})
            return
        await self._client.create(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": CONFIG_MAP,
                    "namespace": self._namespace,
                    "labels": {LABEL_MANAGED_BY: OPERATOR},
                },
                "data": data,
            }
        )


def recorded_uids(namespaces: Iterable[Json]) -> dict[str, int]:
    """The uid of each user by the annotation of their namespace, of namespaces that this operator made."""
    found: dict[str, int] = {}
    for namespace in namespaces:
        labels = namespace["metadata"].get("labels") or {}
        text = (namespace["metadata"].get("annotations") or {}).get(ANNOTATION_USER_UID, "")
        user = labels.get(LABEL_NAMESPACE_USER)
        if labels.get(LABEL_NAMESPACE_CREATED_BY) == OPERATOR and user and text.isdecimal() and int(text) >= FIRST_UID:
            found[user] = int(text)
    return found


def next_uid(given: dict[str, int], recorded: int | None) -> int:
    """recorded if it is free and in range, else one more than the highest ever given."""
    if recorded is not None and recorded >= FIRST_UID and recorded not in given.values():
        return recorded
    return max([FIRST_UID - 1, *given.values()]) + 1
