"""Watches one kind of the cluster, with the time each event was received."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from devcluster.cluster import Cluster
from devcluster.toolchain import need


@dataclass(frozen=True)
class WatchEvent:
    """One change: `kind` is ADDED, MODIFIED or DELETED, `at` by the monotonic clock."""

    at: float
    kind: str
    manifest: dict[str, Any]


class Watch:
    """`kubectl get KIND --watch` in the background, until the block ends."""

    def __init__(self, cluster: Cluster, kind: str, namespace: str) -> None:
        command = [str(need("kubectl")), f"--kubeconfig={cluster.kubeconfig}", "get", kind, "-n", namespace]
        self._command = [*command, "--watch", "--output-watch-events", "-o", "json"]
        self._seen: list[WatchEvent] = []
        self._news = threading.Condition()

    def __enter__(self) -> Watch:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._thread.join()

    def first(
        self, check: Callable[[WatchEvent], bool], what: str, since: float = 0.0, seconds: float = 60
    ) -> WatchEvent:
        """The first change after `since` for which check holds; fails when it doesn't come."""
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                found = next((each for each in self._seen if each.at >= since and check(each)), None)
                if found is not None:
                    return found
                left = deadline - time.monotonic()
                last = [(each.kind, each.manifest["metadata"]["name"]) for each in self._seen[-5:]]
                assert left > 0, f"waited {seconds:.0f} s for {what}; last seen: {last}"
                self._news.wait(left)

    def _read(self) -> None:
        assert self._process.stdout is not None
        text = ""
        for line in self._process.stdout:
            text += line
            if not line.rstrip().endswith("}"):
                continue
            try:
                event = json.loads(text)  # one line or many: kubectl's versions differ
            except ValueError:
                continue
            text = ""
            with self._news:
                self._seen.append(WatchEvent(time.monotonic(), event["type"], event["object"]))
                self._news.notify_all()
