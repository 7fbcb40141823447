"""A reflector: keeps a copy of all objects of one kind by list and watch.

Invariant: it holds the objects as the API server last sent them, and when it last sent anything at all. It lists, then
watches from there; whatever goes wrong, it lists again. A silence longer than the server's own bookmarks are
apart counts as a lost connection, so a dead network is noticed.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from devservers_core.client.api import ApiClient
from devservers_core.types import Json

LOG = logging.getLogger(__name__)
PAGE = "100"
"""Objects of one answer, which is in memory as a whole: each may be as large as the API server takes."""
METADATA = ",".join(
    f"application/json;as={form};g=meta.k8s.io;v=v1" for form in ("PartialObjectMetadataList", "PartialObjectMetadata")
)
"""What to accept where names are enough (Kubernetes API concepts, "Metadata-only fetches")."""
SILENCE = 90.0
"""Seconds; bookmarks come about once a minute."""
LONGEST_WAIT = 2.0
"""Seconds between attempts: with the API server back, a withdrawn key is gone well within five seconds."""


class Reflector(threading.Thread):
    """One kind, kept up to date by a thread of its own."""

    def __init__(
        self,
        client: ApiClient,
        path: str,
        changed: Callable[[bool], None],
        keep: Callable[[Json], Json] = lambda item: item,
    ) -> None:
        """Watches the objects of `path`.

        `changed` is called after each change, with True when it came from a list; `keep` says what of an object stays
        in memory.
        """
        super().__init__(name=path.rsplit("/", 1)[-1], daemon=True)
        self._client = client
        self._path = path
        self._changed = changed
        self._keep = keep
        self._lock = threading.Lock()
        self._objects: dict[tuple[str, str], Json] = {}
        self.synced = False
        """Whether there was a whole list yet."""
        self.heard = 0.0
        """time.monotonic() of the last sign of life."""

    def objects(self) -> list[Json]:
        """What there is now."""
        with self._lock:
            return list(self._objects.values())

    def run(self) -> None:
        """Lists and watches until the process ends."""
        wait, failed = 0.1, False
        while True:
            try:
                self._watch(self._list())
                wait, failed = 0.1, False
            except Exception as error:  # whatever it is: a reflector that ended would show yesterday for ever
                if not failed:
                    reason = str(error) or type(error).__name__
                    LOG.warning("no word of %s from the cluster, trying again: %s", self.name, reason)
                failed = True
            self._client.close()
            time.sleep(wait * random.uniform(0.5, 1))
            wait = min(wait * 2, LONGEST_WAIT)

    def _list(self) -> str:
        """Replaces everything; the version to watch from."""
        objects: dict[tuple[str, str], Json] = {}
        query = {"limit": PAGE}
        while True:
            page = self._client.get(self._path, **query)
            items = page["items"] or []  # a list of metadata says null for none
            objects |= {_key(item): self._keep(item) for item in items}
            metadata = page["metadata"]
            if not metadata.get("continue"):
                break
            query["continue"] = metadata["continue"]
        with self._lock:
            self._objects = objects
        self.synced = True
        self._heard()
        self._changed(True)
        return str(metadata["resourceVersion"])

    def _watch(self, version: str) -> None:
        query = {"resourceVersion": version, "allowWatchBookmarks": "true", "timeoutSeconds": "3000"}
        for event in self._client.watch(self._path, query, SILENCE):
            kind, item = event.get("type"), event["object"]
            if kind == "ERROR":
                raise ValueError(str(item.get("message", "watch ended")))
            self._heard()
            if kind == "BOOKMARK":
                continue
            with self._lock:
                if kind == "DELETED":
                    self._objects.pop(_key(item), None)
                else:
                    self._objects[_key(item)] = self._keep(item)
            self._changed(False)

    def _heard(self) -> None:
        self.heard = time.monotonic()


def named(item: Json) -> Json:
    """An object's name and namespace, and nothing that its owner can make large."""
    return {"metadata": dict(zip(("namespace", "name"), _key(item), strict=True))}


def _key(item: Json) -> tuple[str, str]:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
