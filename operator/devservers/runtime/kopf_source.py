"""The event source: kopf's watches, their login, and what each event does.

Invariant: a handler only updates the cache and adds keys to the queue. It never talks to the API server, never raises
(kopf would swallow it) and returns None (kopf would write anything else into the object's status).

kopf gives watching, authentication and shutdown. Reconciling is level-based and has its own queue, because kopf's
handlers are edge-triggered and keep their progress in annotations on the objects.

See docs/decisions/0001-kopf-as-a-watch-stream.md.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf
from kubernetes.aio.client.configuration import Configuration

from devservers.reconcile.interfaces import Key
from devservers.reconcile.mapper import map_to_keys
from devservers.runtime.cache import Cache
from devservers.runtime.kinds import WATCHED, Kind
from devservers.runtime.predicates import debounce_seconds, should_enqueue
from devservers.runtime.workqueue import WorkQueue
from devservers_core.types import Json

log = logging.getLogger("devservers.watch")

_DEBOUNCED_KIND = "ClusterQueue"
"""The kind whose changes are taken in with a delay (predicates.py): only its numbers change a message, and a server
that is admitted is enqueued by its own Workload."""


class KopfSource:
    """Feeds the cache and the queue from kopf's watches."""

    def __init__(
        self, cache: Cache, queue: WorkQueue[Key], configuration: Configuration, kinds: Sequence[Kind] = WATCHED
    ) -> None:
        self._kinds = kinds
        self._cache = cache
        self._queue = queue
        self._configuration = configuration
        self.events = 0
        """Events taken in that the cache didn't know yet."""

    def registry(self) -> kopf.OperatorRegistry:
        """A registry with one on.event handler per watched kind and the operator's login."""
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        for kind in self._kinds:
            kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=kind.kind)(
                self._handler(kind.kind)
            )
        return registry

    def settings(self) -> kopf.OperatorSettings:
        """Settings of kopf: label selectors, no Events of its own, no scanning for new kinds."""
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.scanning.disabled = True  # our CRDs are there before us: the first list waits for them
        settings.persistence.diffbase_storage = _NoDiff()
        settings.persistence.progress_storage = _NoProgress()
        settings.watching.chunk_size = 500
        settings.watching.connect_timeout = 10
        settings.networking.request_timeout = 60
        settings.process.ultimate_exiting_timeout = 30
        for kind in self._kinds:
            if kind.selector:
                settings.watching.label_selectors[(kind.group, kind.version, kind.plural)] = kind.selector
        return settings

    def take(self, kind: str, obj: Json, *, deleted: bool = False) -> None:
        """Takes in one event: updates the cache and queues the keys that the change concerns."""
        change = self._cache.apply(kind, obj, deleted=deleted)
        if change is None:
            return
        self.events += 1
        if not should_enqueue(kind, change):
            return
        keys = list(map_to_keys(self._cache, kind, obj))
        seconds = debounce_seconds(len(keys)) if kind == _DEBOUNCED_KIND else 0.0
        for key in keys:
            if seconds:
                self._queue.add_after(key, seconds * random.uniform(1.0, 2.0))  # see debounce_seconds
            else:
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
        """The connection of the API client. kopf asks again when a token has expired."""
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
    """A diff storage that does nothing.

    kopf copies every object deeply, on every event, to find out what its own handlers would have changed. The operator
    has none of those; without this the copies are most of what an event costs.
    """

    def build(self, **_: Any) -> Any:  # noqa: ANN401  kopf's types
        return {}

    def fetch(self, **_: Any) -> None:  # noqa: ANN401  kopf's types
        return None

    def store(self, **_: Any) -> None:  # noqa: ANN401  kopf's types
        return None


class _NoProgress(kopf.ProgressStorage):
    """A progress storage that does nothing: no handler keeps progress."""

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
