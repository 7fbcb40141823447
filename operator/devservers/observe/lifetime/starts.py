"""When a server was started last: by the operator's record while it runs, else by the annotations that ask for it.

Invariant: a start is never before the creation of the server and never in the future, whatever the clock was that wrote
the annotation. While a pod runs, no annotation changes when it was started.
"""

from __future__ import annotations

from datetime import datetime

from devservers.api.devserver import DevServer
from devservers_core.names import ANNOTATION_RESTARTED_AT, ANNOTATION_STARTED_AT

from ..times import parse_time

_ANNOTATIONS = (ANNOTATION_STARTED_AT, ANNOTATION_RESTARTED_AT)
_KEPT = 64
"""Characters of an annotation that are kept: a time has fewer."""


def last_start(server: DevServer, now: datetime, running_since: datetime | None = None) -> datetime | None:
    """When the pod of a running server was begun (`running_since`, the operator's record), else `requested_start`."""
    created = server.metadata.creation_timestamp
    if running_since is None or created is None:
        return requested_start(server, now)
    return max(created, min(running_since, now))


def requested_start(server: DevServer, now: datetime, *, begins: bool = False) -> datetime | None:
    """The latest of creation, start and restart; a restart begins with the flavor's defaults of its time.

    An annotation that is ahead of `now`, by a clock that is, counts from when the operator saw it: from the first stage
    of the present start, and from now where that has not begun, or a new pod `begins` in place of it.
    """
    created = server.metadata.creation_timestamp
    if created is None:
        return None
    present = server.status.timeline if server.status.stop_reason is None and not begins else ()
    seen = present[0].at if present else now
    moments = [parse_time(server.metadata.annotations.get(name)) for name in _ANNOTATIONS]
    starts = [moment if moment <= now else min(seen, now) for moment in moments if moment is not None]
    return max([created, *starts])


def start_annotations(server: DevServer) -> str:
    """What the annotations of the last start say, for a later comparison."""
    return ",".join(server.metadata.annotations.get(name, "")[:_KEPT] for name in _ANNOTATIONS)
