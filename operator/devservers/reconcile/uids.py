"""Allocates Unix user ids from 20000 on and never gives one to a second user.

Invariant: a uid is allocated only by a successful write of ConfigMap user-uids at the version that was read, and an
entry is never removed. So two operators, or one that lost its memory, can't give the same uid to two users, and files
on an old volume never belong to somebody new. Namespaces with homes that outlive an uninstallation carry their user's
uid as an annotation, and count as allocated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from devservers.reconcile.interfaces import Client, get_or_none
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
    """The uid of each user name, cached after the first read."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._uids: dict[str, int] = {}

    async def allocate(
        self, username: str, recorded: int | None = None, kept: Callable[[], Mapping[str, int]] = dict
    ) -> int:
        """The user's uid, allocated now if they have none. Raises ApiError, 409 after ten lost races.

        `recorded` is what their status has; it is kept if the ConfigMap was lost and nobody else has it. `kept` returns
        the uids that namespaces record (see :func:`recorded_uids`), taken over where the ConfigMap has none. It reads
        every namespace, so it is called only when the user has no uid yet.
        """
        if username in self._uids:
            return self._uids[username]
        for _ in range(_ATTEMPTS):
            config_map = await self._read()
            given = {name: int(uid) for name, uid in (config_map.get("data") or {}).items() if uid.isdigit()}
            self._uids.update(given)
            if username in given:
                return given[username]
            # With what was allocated since the ConfigMap was lost, if it was.
            allocated = {**kept(), **self._uids}
            old = {name: uid for name, uid in allocated.items() if name not in given and uid not in given.values()}
            uid = old.pop(username, None) or next_uid({**given, **old}, recorded)
            added = {name: str(value) for name, value in {**old, username: uid}.items()}
            try:
                await self._write(config_map, {**(config_map.get("data") or {}), **added})
            except ApiError as error:
                if not error.conflict:
                    raise
                continue
            self._uids[username] = uid
            return uid
        raise ApiError(409, "Conflict", f"ConfigMap {CONFIG_MAP} changes faster than it can be written")

    async def _read(self) -> Json:
        return await get_or_none(self._client, "ConfigMap", self._namespace, CONFIG_MAP) or {}

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
    """The uid of each user by the annotation of their namespace, for namespaces of this operator."""
    uids: dict[str, int] = {}
    for namespace in namespaces:
        labels = namespace["metadata"].get("labels") or {}
        text = (namespace["metadata"].get("annotations") or {}).get(ANNOTATION_USER_UID, "")
        user = labels.get(LABEL_NAMESPACE_USER)
        if labels.get(LABEL_NAMESPACE_CREATED_BY) == OPERATOR and user and text.isdecimal() and int(text) >= FIRST_UID:
            uids[user] = int(text)
    return uids


def next_uid(given: dict[str, int], recorded: int | None) -> int:
    """The recorded uid if it is free and in range, else one more than the highest."""
    if recorded is not None and recorded >= FIRST_UID and recorded not in given.values():
        return recorded
    return max([FIRST_UID - 1, *given.values()]) + 1
