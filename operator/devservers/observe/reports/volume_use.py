"""How full a server's volumes are, from its agent's reports, for status.volumes.

Invariant: at most one change an hour, and none while every volume keeps its use within 5 %. A report is untrusted:
paths that the server doesn't mount are left out, and what a report leaves out keeps its last entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from devservers.api.devserver import DevServer
from devservers_core.names import HOME_PATH, SHARED_PATH
from devservers_core.protocol.agent.report import VolumeUse
from devservers_core.replicas import home_names
from devservers_core.types import Json

from ..times import format_time, parse_time

INTERVAL = timedelta(hours=1)
"""Between two changes of the entries."""
CHANGED_SHARE = 0.05
"""Of the bytes in use before: a smaller change is not written."""


def claims_by_path(server: DevServer) -> dict[str, str]:
    """The claims that a server mounts, by the path without trailing slashes."""
    spec = server.spec
    claims = {volume.mount_path.rstrip("/"): volume.claim_name for volume in spec.volumes}
    if spec.shared_volume_claim_name:
        claims[SHARED_PATH] = spec.shared_volume_claim_name
    if spec.persistent_home_size is not None:
        claims[HOME_PATH] = home_names(server.name, server.replicas)[0]
    return claims


def volume_use(
    server: DevServer, previous: Sequence[Json], reported: Sequence[VolumeUse], answered_at: datetime
) -> list[Json]:
    """The entries of status.volumes, by path.

    `previous` are the entries so far, `reported` the newest report's volumes; () when there is no report.
    """
    claims = claims_by_path(server)
    kept = {
        str(entry["path"]): entry for entry in previous if claims.get(str(entry.get("path"))) == entry.get("claimName")
    }
    new = {
        use.path: {
            "path": use.path,
            "claimName": claims[use.path],
            "usedBytes": use.used_bytes,
            **({"sizeBytes": use.size_bytes} if use.size_bytes is not None else {}),
            "at": format_time(answered_at),
        }
        for use in reported
        if use.path in claims
    }
    if not kept or (_due(kept.values(), answered_at) and any(_changed(kept.get(path), new[path]) for path in new)):
        kept |= new
    return [kept[path] for path in sorted(kept)]


def _due(entries: Iterable[Json], now: datetime) -> bool:
    """Whether the newest entry is older than the interval, or none has a time that can be read."""
    times = [time for entry in entries if (time := parse_time(entry.get("at"))) is not None]
    return not times or now - max(times) >= INTERVAL


def _changed(before: Json | None, after: Json) -> bool:
    if before is None or before.get("sizeBytes") != after.get("sizeBytes"):
        return True
    used = before.get("usedBytes")
    if not isinstance(used, int):
        return True
    difference = abs(int(after["usedBytes"]) - used)
    return difference > 0 and difference >= used * CHANGED_SHARE
