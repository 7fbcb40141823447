"""`devctl list`: the servers, one line each, with the reason of what does not run.

Invariant: read-only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from devctl.options import Output
from devctl.output import console, tables, times
from devctl.resources.lifecycle.all_servers import all_servers
from devctl.resources.lifecycle.planned import hold_until, last_active, stops_in
from devctl.resources.replicas import replicas_of
from devctl.resources.server_state import phase, shown_reason, status_of
from devservers_core import names

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


def _phase_colour(column: int) -> Any:  # noqa: ANN401
    return lambda at, cell: console.PHASE_COLOURS.get(cell) if at == column else None


def _hold(server: Json) -> str:
    until = hold_until(server)
    return times.until(until.isoformat()) if until else "-"


def list_command(
    context: Context,
    all_users: Annotated[bool, typer.Option("--all", "-A", help="Servers of all users that you may see.")] = False,
    output: Output = None,
) -> None:
    """List your servers.

    STOPS IN is the time to the stop that is planned, with its reason where it is another than the time limit. READY
    is how many of a distributed server's replicas are ready. With -o wide LAST ACTIVE says how long ago something
    happened in a server, and what; HOLD how long it is held.
    """
    form = context.output(output)
    if context.broker:
        from devctl.resources.people import account_keys

        account_keys.print_expiry_warnings(context)
    items = all_servers(context) if all_users else context.servers()
    if tables.print_objects(form, tables.as_list(items, names.API_VERSION, "DevServer"), "devserver"):
        return
    if not items:
        console.info(
            "no servers" if all_users else f"no servers in {context.namespace}; `devctl create NAME` makes one"
        )
        return
    header = ["NAME", "FLAVOR", "PHASE", "AGE", "STOPS IN", "REASON"]
    if form == "wide":
        header[-1:] = ["LAST ACTIVE", "HOLD", "HOME", "IMAGE", "ENDPOINT", "POD", "REASON"]
    ready = any(replicas_of(server) is not None for server in items)
    if ready:
        header.insert(header.index("PHASE") + 1, "READY")
    rows = []
    for server in items:
        spec, status = server.get("spec") or {}, status_of(server)
        row = [
            server["metadata"]["name"],
            str(spec.get("flavor", "-")),
            phase(server),
            times.age(server["metadata"].get("creationTimestamp")),
            stops_in(server),
            shown_reason(server),
        ]
        if form == "wide":
            row[-1:] = [
                last_active(server),
                _hold(server),
                str(spec.get("persistentHomeSize", "-")),
                str(spec.get("image", "default")),
                str(status.get("endpoint", "-")),
                str(status.get("podName", "-")),
                shown_reason(server),
            ]
        if ready:
            row.insert(3, str(status.get("ready", "-")))
        rows.append([server["metadata"].get("namespace", "-"), *row] if all_users else row)
    if all_users:
        header.insert(0, "NAMESPACE")
    tables.table(header, rows, _phase_colour(header.index("PHASE")), whole=form == "wide")
