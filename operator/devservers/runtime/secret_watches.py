"""Watches the metadata of people's secrets, in each person's namespace for itself.

Invariant: no value of a Secret enters this process: lists and watches ask for PartialObjectMetadata of one type. There
is one watch for each namespace, because a watch of all of them needs the right to list every Secret of the cluster.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from asyncio import sslproto
from collections.abc import Callable, Mapping

from devservers.build.secret_index import entry
from devservers.reconcile.interfaces import Key, Lister
from devservers.reconcile.mapper import USER
from devservers.runtime.kube_client import KubeClient
from devservers_core.errors import ApiError
from devservers_core.names import SECRET_TYPE_USER, TENANT_ROLE, namespace_of
from devservers_core.types import Json

log = logging.getLogger("devservers.watch")

SELECTOR = f"type={SECRET_TYPE_USER}"
WATCH_SECONDS = 600.0
"""How long a watch is open at most; then the namespace is listed again."""
RETRY_SECONDS = 1.0
MAX_RETRY_SECONDS = 60.0
SETTLED_SECONDS = 10.0
"""After how long a watch has gone well; one that ends sooner is begun again after a pause."""
RETRIES_OF_NEW_RIGHTS = 4
"""How many times RETRY_SECONDS a refusal may last before the log has it."""
BINDING = "RoleBinding"
LISTS_AT_ONCE = 8
TLS_BUFFER_BYTES = 16384
"""Of one connection: a record of TLS has no more. asyncio's own is 256 KiB, and each watch would hold one for ever:
0.31 MiB a watch, and 0.07 MiB with this."""
LOOK_SECONDS = 0.5
"""Between two looks which users there are."""


class SecretWatches:
    """The entries of each user's index, kept up to date; tells which user's changed."""

    def __init__(self, kube: KubeClient, lister: Lister, changed: Callable[[Key], None]) -> None:
        self._kube, self._lister, self._changed = kube, lister, changed
        self._entries: dict[str, dict[str, str]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._lists = asyncio.Semaphore(LISTS_AT_ONCE)

    def of(self, namespace: str) -> Mapping[str, str] | None:
        """The entries of a user's index; None while their secrets haven't been listed."""
        return self._entries.get(namespace)

    async def run(self) -> None:
        """Watches until cancelled."""
        sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES
        changes: tuple[int, int] | None = None
        try:
            while True:
                if changes != (now := (self._lister.changes(USER), self._lister.changes(BINDING))):
                    changes = now
                    self._follow()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for task in self._tasks.values():
                task.cancel()

    def _follow(self) -> None:
        users = {namespace_of(user["metadata"]["name"]): str(user["metadata"]["name"]) for user in self._users()}
        for namespace in self._tasks.keys() - users.keys():
            self._tasks.pop(namespace).cancel()
            self._entries.pop(namespace, None)
        for namespace in users.keys() - self._tasks.keys():
            self._tasks[namespace] = asyncio.create_task(self._keep(namespace, users[namespace]), name="secrets")

    def _users(self) -> list[Json]:
        """The users in whose namespaces the operator has its rights."""
        users = self._lister.list(USER)
        return [
            user for user in users if self._lister.get(BINDING, namespace_of(user["metadata"]["name"]), TENANT_ROLE)
        ]

    async def _keep(self, namespace: str, user: str) -> None:
        retry = RETRY_SECONDS
        while True:
            began, failed = time.monotonic(), True
            try:
                await self._watch(namespace, user)
                failed = False
            except ApiError as error:
                # The API server itself learns of a new RoleBinding a moment after it stored it.
                new = error.status == 403 and retry < RETRIES_OF_NEW_RIGHTS * RETRY_SECONDS
                log.log(
                    logging.DEBUG if new else logging.INFO,
                    "secrets not watched namespace=%s error=%s",
                    namespace,
                    error,
                )
            except Exception:
                log.exception("secrets not watched namespace=%s", namespace)
            settled = time.monotonic() - began >= SETTLED_SECONDS
            if settled:
                retry = RETRY_SECONDS
            if failed or not settled:
                await asyncio.sleep(retry * random.uniform(0.8, 1.2))
                retry = min(2 * retry, MAX_RETRY_SECONDS)

    async def _watch(self, namespace: str, user: str) -> None:
        """Lists once, then follows the changes until the watch ends. Raises ApiError."""
        async with self._lists:
            objects, version = await self._kube.list_metadata("Secret", namespace, SELECTOR)
        self._take(namespace, user, {str(obj["metadata"]["name"]): entry(obj["metadata"]) for obj in objects})
        seconds = WATCH_SECONDS * random.uniform(0.5, 1.0)
        async for event in self._kube.watch_metadata("Secret", namespace, SELECTOR, version, seconds):
            obj = event.get("object") or {}
            if event.get("type") == "ERROR":
                return  # the version is too old, for example: list again
            name = str((obj.get("metadata") or {}).get("name") or "")
            changed = None if event.get("type") == "DELETED" else entry(obj.get("metadata") or {})
            self._take(namespace, user, {**self._entries[namespace], name: changed})

    def _take(self, namespace: str, user: str, entries: Mapping[str, str | None]) -> None:
        kept = {name: text for name, text in entries.items() if text is not None}
        if self._entries.get(namespace) != kept:
            self._entries[namespace] = kept
            self._changed(Key(USER, "", user))
