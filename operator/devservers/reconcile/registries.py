"""Keeps the Secrets that images are pulled with: a person's, which only they fill, and copies of the platform's.

Invariant: what a person wrote is never changed here, and what is stored is written over only with something else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from devservers.api.user import DevServerUser
from devservers.build.registry import empty_secret, platform_secret
from devservers.reconcile.interfaces import Client
from devservers_core.errors import ApiError
from devservers_core.names import REGISTRY_ENTRY, SECRET_TYPE_REGISTRY
from devservers_core.registry import registry_of, secret_name
from devservers_core.types import Json

log = logging.getLogger("devservers.reconcile")

CACHE_SECONDS = 300.0
"""How long a Secret of the platform is used before it is read again."""


async def ensure_registry_secret(client: Client, user: DevServerUser, image: str | None) -> None:
    """Make the Secret of an image's registry, without any login, where there is none. Raises ApiError."""
    if image is None:
        return
    registry = registry_of(image)
    if await _stored(client, user.namespace, secret_name(registry)) is None:
        await _create(client, empty_secret(user, registry))


class PlatformRegistries:
    """The platform's own logins, for every person's servers."""

    def __init__(self, client: Client, namespace: str = "", names: Sequence[str] = ()) -> None:
        """`names` are Secrets of the operator's namespace."""
        self._client = client
        self._namespace = namespace
        self._names = tuple(names)
        self._read: dict[str, tuple[float, Json | None]] = {}

    async def copy_to(self, user: DevServerUser) -> None:
        """Bring a person's copies up to date. Raises ApiError."""
        for name in self._names:
            source = await self._source(name)
            if source is None:
                continue
            wanted = platform_secret(user, source)
            stored = await _stored(self._client, user.namespace, wanted["metadata"]["name"])
            if stored is None:
                await _create(self._client, wanted)
            elif stored.get("data") != wanted["data"]:
                await self._client.replace({**stored, "data": wanted["data"]})

    async def _source(self, name: str) -> Json | None:
        """The platform's Secret of that name, None while it can't be used."""
        read_at, found = self._read.get(name, (-CACHE_SECONDS, None))
        if time.monotonic() - read_at < CACHE_SECONDS:
            return found
        found = await _stored(self._client, self._namespace, name)
        if (
            found is None
            or found.get("type") != SECRET_TYPE_REGISTRY
            or REGISTRY_ENTRY not in (found.get("data") or {})
        ):
            place = f"{self._namespace}/{name}"
            log.warning("no login to a registry in Secret %s: it must be of type %s", place, SECRET_TYPE_REGISTRY)
            found = None
        self._read[name] = (time.monotonic(), found)
        return found


async def _stored(client: Client, namespace: str, name: str) -> Json | None:
    try:
        return await client.get("Secret", namespace, name)
    except ApiError as error:
        if not error.not_found:
            raise
        return None


async def _create(client: Client, secret: Json) -> None:
    try:
        await client.create(secret)
    except ApiError as error:
        if not error.conflict:  # made meanwhile, by its person for one
            raise
