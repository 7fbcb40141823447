"""The ConfigMap about the last end of a server, for `devctl describe` after it.

Invariant: it has no owner reference, so it outlives its server, and at most MAX_LINES lines of output in MAX_BYTES.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from devservers.api.devserver import DevServer
from devservers_core.names import LABEL_ENDED, LABEL_NAME, LABEL_USER, ended_name
from devservers_core.protocol.agent.report import MAX_LINES, RunState
from devservers_core.protocol.agent.termination import Termination
from devservers_core.replicas import home_names
from devservers_core.types import Json

from ..times import format_time, parse_time

MAX_BYTES = 32 * 1024
MAX_AGE = timedelta(days=7)
MAX_KEPT = 50
"""Of one person."""


@dataclass(frozen=True, slots=True)
class End:
    """An end of a server."""

    at: datetime
    reason: str
    message: str
    deleted: bool = False
    lines: Sequence[str] = ()
    runs: str = ""
    """The server's last runs, as describe_runs returns them."""
    oom_kills: int | None = None
    pod: str = ""
    """The name of the pod that ended: what it left is added when it is known."""


def ended_config_map(server: DevServer, end: End) -> Json:
    """The ConfigMap `<server>-ended`."""
    started = server.status.timeline[0].at if server.status.timeline else None
    home = home_names(server.name, server.replicas)[0] if server.spec.persistent_home_size is not None else ""
    data = {
        "reason": end.reason,
        "message": end.message[:1024],
        "at": format_time(end.at),
        "startedAt": format_time(started) if started else "",
        "oomKills": "" if end.oom_kills is None else str(end.oom_kills),
        "flavor": server.spec.flavor,
        "image": server.spec.image or "",
        "home": home,
        "deleted": "true" if end.deleted else "",
        "runs": end.runs,
        "lines": _bounded(end.lines),
        "pod": end.pod,
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": ended_name(server.name),
            "namespace": server.metadata.namespace,
            "labels": {LABEL_NAME: server.name, LABEL_ENDED: "true", LABEL_USER: server.owner},
        },
        "data": {key: value for key, value in data.items() if value or key == "home"},
    }


def completed(record: Json, pod: str, left: Termination) -> Json | None:
    """A record with what its pod left; None where it is about another pod, or has its lines already."""
    data = record.get("data") or {}
    if data.get("pod") != pod or data.get("lines") or not left.lines:
        return None
    metadata = {name: record["metadata"].get(name) for name in ("name", "namespace", "labels", "ownerReferences")}
    added = {"lines": _bounded(left.lines)}
    if left.oom_kills is not None and not data.get("oomKills"):
        added["oomKills"] = str(left.oom_kills)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {name: value for name, value in metadata.items() if value},
        "data": {**data, **added},
    }


def surplus(config_maps: Iterable[Json], now: datetime) -> list[Json]:
    """The records that are too old, and those beyond MAX_KEPT, oldest first."""
    records = [record for record in config_maps if _is_record(record)]
    records.sort(key=lambda record: (_ended_at(record) or now, record["metadata"]["name"]), reverse=True)
    kept = [record for record in records if now - (_ended_at(record) or now) <= MAX_AGE][:MAX_KEPT]
    names = {record["metadata"]["name"] for record in kept}
    return [record for record in reversed(records) if record["metadata"]["name"] not in names]


def _is_record(config_map: Json) -> bool:
    return (config_map["metadata"].get("labels") or {}).get(LABEL_ENDED) == "true"


def _ended_at(record: Json) -> datetime | None:
    return parse_time((record.get("data") or {}).get("at")) or parse_time(record["metadata"].get("creationTimestamp"))


def describe_runs(runs: Sequence[RunState], at: datetime) -> str:
    """The last runs of a server that ends at a time, as JSON; one in force is lost with it. Empty without runs."""
    if not runs:
        return ""
    return json.dumps(
        [
            {
                "name": run.name,
                "state": "lost" if run.state == "running" else run.state,
                "exitCode": run.exit_code,
                "canceled": run.canceled,
                "started": format_time(at - timedelta(seconds=run.started_ago)),
                "seconds": run.seconds,
            }
            for run in runs
        ],
        separators=(",", ":"),
    )


def _bounded(lines: Sequence[str]) -> str:
    """The last lines that fit."""
    kept: list[str] = []
    size = 0
    for line in reversed(lines[-MAX_LINES:]):
        size += len(line.encode()) + 1
        if size > MAX_BYTES:
            break
        kept.append(line)
    return "\n".join(reversed(kept))
