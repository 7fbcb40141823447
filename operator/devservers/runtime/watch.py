"""Everything kopf: which kinds are watched, how it logs in, and what an event does.

Invariant: a handler only updates the cache and adds keys to the queue. It never talks to the API server,
never raises (kopf would swallow it) and returns None (kopf would write anything else into the object's
status).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf
from kubernetes.aio.client.configuration import Configuration

from devservers.reconcile.ports import Json, Key
from devservers.reconcile.router import keys_for
from devservers.runtime.cache import Cache, Change
from devservers.runtime.kinds import WATCHED
from devservers.runtime.workqueue import WorkQueue

log = logging.getLogger("devservers.watch")

# Their status moves with every pod and says nothing a reconcile reads.
_STATUS_IGNORED = frozenset({"ResourceQuota", "NetworkPolicy", "Service"})


class Watcher:
    """Feeds the cache and the queue from kopf's watch streams."""

    def __init__(self, cache: Cache, queue: WorkQueue[Key], configuration: Configuration) -> None:
        self._cache = cache
        self._queue = queue
        self._configuration = configuration
        self.events = 0
        """Events taken in that the cache didn't know yet."""

    def registry(self) -> kopf.OperatorRegistry:
        """kopf's registry with one on.event handler per watched kind and our own login."""
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        for kind in WATCHED:
            kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=kind.kind)(
                self._handler(kind.kind)
            )
        return registry

    def settings(self) -> kopf.OperatorSettings:
        """kopf's settings: selectors, no posting, no scanning for kinds that come and go."""
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.scanning.disabled = True  # our CRDs are there before us: the first list waits for them
        settings.persistence.diffbase_storage = _NoDiff()
        settings.persistence.progress_storage = _NoProgress()
        settings.watching.chunk_size = 500
        settings.watching.connect_timeout = 10
        settings.networking.request_timeout = 60
        settings.process.ultimate_exiting_timeout = 30
        for kind in WATCHED:
            if kind.selector:
                settings.watching.label_selectors[(kind.group, kind.version, kind.plural)] = kind.selector
        return settings

    def take(self, kind: str, obj: Json, *, deleted: bool = False) -> None:
        """One event: into the cache, and its keys into the queue if it says anything new."""
        change = self._cache.apply(kind, obj, deleted=deleted)
        if change is None:
            return
        self.events += 1
        if not _matters(kind, change):
            return
        for key in keys_for(self._cache, kind, obj):
            self._queue.add(key)

    def _handler(self, kind: str) -> Callable[..., Awaitable[None]]:
        async def on_event(event: Any, **_: Any) -> None:  # noqa: ANN401  kopf's keyword arguments
            try:
                obj: Json = dict(event["object"])
                obj["kind"] = kind
                self.take(kind, obj, deleted=event["type"] == "DELETED")
            except Exception:
                log.exception("event not handled kind=%s", kind)

        return on_event

    async def _login(self, **_: Any) -> kopf.ConnectionInfo:  # noqa: ANN401  kopf's keyword arguments
        """The same connection the facade uses. kopf asks again when a token has run out."""
        configuration = self._configuration
        header = (await configuration.auth_settings()).get("BearerToken", {}).get("value") or ""
        expiration = datetime.now(UTC) + timedelta(minutes=5) if header else None
        return kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            ca_data=None if configuration.ssl_ca_cert else configuration.ca_cert_data,
            insecure=not configuration.verify_ssl,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            scheme="Bearer" if header else None,
            token=header.split(" ", 1)[-1] if header else None,
            expiration=expiration,
        )


class _NoDiff(kopf.DiffBaseStorage):
    """kopf copies every object deeply, on every event, to find out what its own handlers would have changed.

    We have none of those handlers; without this that copying is most of what an event costs.
    """

    def build(self, **_: Any) -> Any:  # noqa: ANN401  kopf's types
        return {}

    def fetch(self, **_: Any) -> None:  # noqa: ANN401  kopf's types
        return None

    def store(self, **_: Any) -> None:  # noqa: ANN401  kopf's types
        return None


class _NoProgress(kopf.ProgressStorage):
    """The same for the progress of handlers that keep any: there is nothing to read, write or clear."""

    def fetch(self, **_: Any) -> None:  # noqa: ANN401  kopf's types
        return None

    def store(self, **_: Any) -> None:  # noqa: ANN401  kopf's types
        return None

    def purge(self, **_: Any) -> None:  # noqa: ANN401  kopf's types
        return None

    def touch(self, **_: Any) -> None:  # noqa: ANN401  kopf's types
        return None

    def clear(self, *, essence: Any) -> Any:  # noqa: ANN401  kopf's types
        return essence


def _matters(kind: str, change: Change) -> bool:
    """False for a change that can't move any reconcile: a status nobody reads."""
    if kind not in _STATUS_IGNORED or change.old is None or change.new is None:
        return True
    return _meaning(change.old) != _meaning(change.new)


def _meaning(obj: Json) -> Json:
    metadata = {key: value for key, value in obj["metadata"].items() if key not in ("resourceVersion", "generation")}
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}
