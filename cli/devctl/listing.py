"""devctl list: what there is, one line each, with the reason of what does not run.

Invariant: nothing here writes to the cluster; every list has the formats table, wide, json, yaml and name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from devctl import complete, render
from devctl.errors import from_api
from devservers_core import names
from devservers_core.errors import ApiError

if TYPE_CHECKING:
    from devctl.session import Session
    from devservers_core.types import Json

Output = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FORMAT",
        help="table, wide, json, yaml or name.",
        autocompletion=complete.outputs,
    ),
]


def status_of(server: Json) -> Json:
    """The status, {} before the operator has seen the server."""
    return server.get("status") or {}


def phase(server: Json) -> str:
    """The phase a person is shown."""
    if server["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return str(status_of(server).get("phase") or "Pending")


def reason(server: Json) -> str:
    """Why a server is not running, "-" when it is."""
    from devctl.wait import why

    status = status_of(server)
    if status.get("phase") == "Stopped" and status.get("stopReason"):
        return f"stopped: {status['stopReason']}"
    return why(server) or notice(server) or "-"


def notice(server: Json) -> str | None:
    """What the owner of a running server has to know before it stops, None when there is nothing."""
    conditions = {str(each.get("type")): each for each in status_of(server).get("conditions") or []}
    deleting, flavor = conditions.get("VolumeDeleting") or {}, conditions.get("FlavorChanged") or {}
    if deleting.get("status") == "True":
        return render.clean(str(deleting.get("message") or "")) or None
    if (flavor.get("status"), flavor.get("reason")) == ("True", "FlavorNotFound"):
        return render.clean(f"its flavor {(server.get('spec') or {}).get('flavor')} no longer exists")
    return None


def _phase_colour(column: int) -> Any:  # noqa: ANN401
    return lambda at, cell: render.PHASE_COLOURS.get(cell) if at == column else None


def list_command(
    session: Session,
    all_users: Annotated[bool, typer.Option("--all", "-A", help="Servers of all users that you may see.")] = False,
    output: Output = None,
) -> None:
    """List your servers."""
    form = session.output(output)
    if session.broker:
        from devctl import keys

        keys.notice(session)
    if all_users:
        try:
            items = list(session.kube.get(f"/apis/{names.API_VERSION}/devservers").get("items") or [])
        except ApiError as error:
            raise from_api(error, "list the servers of all users") from None
    else:
        items = session.servers()
    if render.machine(form, render.as_list(items, names.API_VERSION, "DevServer"), "devserver"):
        return
    if not items:
        render.say("no servers" if all_users else f"no servers in {session.namespace}; `devctl create NAME` makes one")
        return
    header = ["NAME", "FLAVOR", "PHASE", "AGE", "STOPS IN", "REASON"]
    if form == "wide":
        header[-1:] = ["HOME", "IMAGE", "ENDPOINT", "POD", "REASON"]
    rows = []
    for server in items:
        spec, status = server.get("spec") or {}, status_of(server)
        row = [
            server["metadata"]["name"],
            str(spec.get("flavor", "-")),
            phase(server),
            render.age(server["metadata"].get("creationTimestamp")),
            render.until(status.get("expiresAt")) if phase(server) != "Stopped" else "-",
            reason(server),
        ]
        if form == "wide":
            row[-1:] = [
                str(spec.get("persistentHomeSize", "-")),
                str(spec.get("image", "default")),
                str(status.get("endpoint", "-")),
                str(status.get("podName", "-")),
                reason(server),
            ]
        rows.append([server["metadata"].get("namespace", "-"), *row] if all_users else row)
    if all_users:
        header.insert(0, "NAMESPACE")
    render.table(header, rows, _phase_colour(header.index("PHASE")), whole=form == "wide")
