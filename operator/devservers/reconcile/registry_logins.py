"""Keeps the Secrets that images are pulled with, in each user's namespace.

A user's own Secrets are created empty and filled by the user; the platform's are copied. Invariant: what a user wrote
is never changed, and a Secret is replaced only with different data.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from devservers.api.user import DevServerUser
from devservers.build.registry import empty_secret, platform_secret
from devservers.reconcile.interfaces import Client, get_or_none
from devservers_core.errors import ApiError
from devservers_core.names import REGISTRY_ENTRY, SECRET_TYPE_REGISTRY
from devservers_core.registry import registry_of, secret_name
from devservers_core.types import Json

log = logging.getLogger("devservers.reconcile")

CACHE_SECONDS = 300.0
"""How long a Secret of the platform is used before it is read again."""


async def ensure_registry_secret(client: Client, user: DevServerUser, image: str | None) -> None:
    """Creates the Secret of an image's registry, without a login, where it is absent. Raises ApiError."""
    if image is None:
        return
    registry = registry_of(image)
    if await get_or_none(client, "Secret", user.namespace, secret_name(registry)) is None:
        await _create(client, empty_secret(user, registry))


class PlatformLogins:
    """Copies the platform's logins into users' namespaces."""

    def __init__(self, client: Client, namespace: str = "", names: Sequence[str] = ()) -> None:
        """Takes `names`, Secrets of the operator's namespace."""
        self._client = client
        self._namespace = namespace
        self._names = tuple(names)
        self._cache: dict[str, tuple[float, Json | None]] = {}

    async def copy_to(self, user: DevServerUser) -> None:
        """Brings a user's copies up to date. Raises ApiError."""
        for name in self._names:
            source = await self._source(name)
            if source is None:
                continue
            copy = platform_secret(user, source)
            stored = await get_or_none(self._client, "Secret", user.namespace, copy["metadata"]["name"])
            if stored is None:
                await _create(self._client, copy)
            elif stored.get("data") != copy["data"]:
                await self._client.replace({**stored, "data": copy["data"]})

    async def _source(self, name: str) -> Json | None:
        """The platform's Secret of that name, None while it can't be used."""
        read_at, secret = self._cache.get(name, (-CACHE_SECONDS, None))
        if time.monotonic() - read_at < CACHE_SECONDS:
            return secret
        secret = await get_or_none(self._client, "Secret", self._namespace, name)
        if (
            secret is None
            or secret.get("type") != SECRET_TYPE_REGISTRY
            or REGISTRY_ENTRY not in (secret.get("data") or {})
        ):
            location = f"{self._namespace}/{name}"
            log.warning("no login to a registry in Secret %s: it must be of type %s", location, SECRET_TYPE_REGISTRY)
            secret = None
        self._cache[name] = (time.monotonic(), secret)
        return secret


async def _create(client: Client, secret: Json) -> None:
    try:
        await client.create(secret)
    except ApiError as error:
        if not error.conflict:  # created meanwhile, by the user for example
            raise
