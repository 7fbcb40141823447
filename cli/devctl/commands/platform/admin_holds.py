"""`devctl admin holds`: which servers are held, until when and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from devctl.options import Output
from devctl.output import console, tables, times
from devctl.resources.lifecycle.all_servers import all_servers
from devctl.resources.lifecycle.planned import hold_until, is_stopped, lifecycle_of
from devctl.resources.server_state import phase
from devservers_core import names

if TYPE_CHECKING:
    from devctl.context import Context


def admin_holds_command(context: Context, output: Output = None) -> None:
    """List the holds in force of all users' running servers, the longest first."""
    form = context.output(output)
    held = [
        (until, server) for server in all_servers(context) if not is_stopped(server) and (until := hold_until(server))
    ]
    held.sort(key=lambda entry: entry[0], reverse=True)
    servers = [server for _, server in held]
    if tables.print_objects(form, tables.as_list(servers, names.API_VERSION, "DevServer"), "devserver"):
        return
    if not held:
        console.info("no server is held")
        return
    now = datetime.now(UTC)
    rows = [
        [
            str(server["metadata"].get("namespace", "-")),
            str(server["metadata"]["name"]),
            phase(server),
            times.duration((until - now).total_seconds()),
            str((lifecycle_of(server).get("hold") or {}).get("reason") or "-"),
        ]
        for until, server in held
    ]
    tables.table(["NAMESPACE", "NAME", "PHASE", "LEFT", "REASON"], rows, whole=form == "wide")
