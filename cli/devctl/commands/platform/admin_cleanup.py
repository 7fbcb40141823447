"""`devctl admin cleanup`: stop and delete servers that nobody used for long.

Invariant: without --yes nothing is changed; a home is never deleted, and no server whose home is not persistent or
whose activity is not known is stopped. A server that changed since it was listed is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from devctl import validation
from devctl.output import console, tables, times
from devctl.resources.home import keeps_home
from devctl.resources.lifecycle.all_servers import all_servers, last_used
from devctl.resources.lifecycle.planned import hold_until, is_stopped
from devctl.resources.server_state import phase, status_of, true_message
from devservers_core.client.paths import server_path
from devservers_core.errors import FAILURE, ApiError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


@dataclass(frozen=True)
class Step:
    """What is done with one unused server: `stop`, `delete`, or `keep` with the reason."""

    server: Json
    used: datetime
    action: str
    reason: str = ""


def admin_cleanup_command(
    context: Context,
    unused: Annotated[str, typer.Option("--unused", metavar="DURATION", help="Not used for so long, like 30d.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it the servers are only listed.")] = False,
) -> int:
    """List servers of all users that nobody used for long; with --yes stop those that run, and delete the stopped.

    A server is used when something happens in it, when it stops and when it is started. Homes are never deleted: a new
    server of the name has the home again. A held server is kept, and so is one that runs with a home that is not
    persistent, or whose activity is not known.
    """
    seconds = validation.duration(unused, "--unused")
    steps = plan(all_servers(context), datetime.now(UTC), seconds)
    if not steps:
        console.info(f"no server has been unused for {times.duration(seconds)}")
        return 0
    rows = [
        [
            str(step.server["metadata"].get("namespace", "-")),
            str(step.server["metadata"]["name"]),
            phase(step.server),
            times.age(step.used.isoformat()),
            step.action + (f" ({step.reason})" if step.reason else ""),
        ]
        for step in steps
    ]
    tables.table(["NAMESPACE", "NAME", "PHASE", "UNUSED", "ACTION"], rows)
    if not yes:
        console.info("nothing was changed; --yes does it, and keeps all homes")
        return 0
    results = [_apply(context, step) for step in steps if step.action != "keep"]
    console.info(f"{results.count(True)} of {len(results)} servers are cleaned up; all homes are kept")
    return 0 if all(results) else FAILURE


def plan(servers: list[Json], now: datetime, seconds: int) -> list[Step]:
    """What is to be done with the servers that were not used for `seconds`, the longest unused first."""
    steps = []
    for server in servers:
        used = last_used(server)
        if used is None or server["metadata"].get("deletionTimestamp") or now - used < timedelta(seconds=seconds):
            continue
        if hold_until(server, now):
            steps.append(Step(server, used, "keep", "held"))
        elif is_stopped(server):
            steps.append(Step(server, used, "delete"))
        elif not keeps_home(server):
            steps.append(Step(server, used, "keep", "its home is not persistent"))
        elif not _activity_known(server):
            steps.append(Step(server, used, "keep", "its activity is not known"))
        else:
            steps.append(Step(server, used, "stop"))
    return sorted(steps, key=lambda step: step.used)


def _activity_known(server: Json) -> bool:
    """Whether the platform measures what happens in a running server; what it can't measure counts as in use."""
    unmeasured = any(true_message(server, kind) is not None for kind in ("ActivityUnknown", "AgentMissing"))
    return not unmeasured and times.parse_time((status_of(server).get("lastActivity") or {}).get("at")) is not None


def _apply(context: Context, step: Step) -> bool:
    """Carry out one step if the server is as it was listed; return whether it was done."""
    metadata = step.server["metadata"]
    name, namespace = str(metadata["name"]), str(metadata["namespace"])
    path = server_path(namespace, name)
    try:
        if step.action == "delete":
            context.kube.delete(path, step.server)
        else:
            counted = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
            body: Json = {"metadata": counted, "spec": {"running": False}}
            context.kube.patch(path, body, fieldManager="devctl")
    except ApiError as error:
        what = "it changed meanwhile and is left as it is" if error.status in (404, 409) else error.message
        console.warn(f"{namespace}/{name}: {what}")
        return False
    return True
