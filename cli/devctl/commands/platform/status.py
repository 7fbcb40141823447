"""`devctl status`: the platform's state, the user's servers and quota.

Invariant: read-only; it names what the user's rights do not reach.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from devctl.options import DocumentOutput
from devctl.output import console, tables
from devctl.output.errors import quota_label
from devctl.resources import fast_starts
from devctl.resources.platform_state import operator_state, overcommit, quota, user_state

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


def status_command(context: Context, output: DocumentOutput = None) -> int:
    """Show the platform's state, your servers by phase, and your quota."""
    from devctl.resources.server_state import phase

    form = context.output(output)
    document: Json = {"cluster": context.target.server, "context": context.target.context}
    document["version"] = context.kube.get("/version").get("gitVersion", "unknown")
    document["operator"] = operator_state(context)
    document["user"] = user_state(context)
    servers = context.servers()
    phases: dict[str, int] = {}
    for server in servers:
        phases[phase(server)] = phases.get(phase(server), 0) + 1
    document["servers"] = {"total": len(servers), "phases": phases}
    document["quota"] = quota(context)
    document["overcommit"] = overcommit(context)
    document["headroom"] = fast_starts.headroom(context)
    document["prePulled"] = fast_starts.pulled_images(context)
    if form in ("json", "yaml"):
        console.echo(tables.to_json(document) if form == "json" else tables.to_yaml(document).rstrip())
        return 0
    summary = ", ".join(f"{count} {name}" for name, count in sorted(phases.items())) or "none"
    rows = [
        ["cluster", f"{document['cluster']} ({document['version']})"],
        ["operator", document["operator"]],
        ["user", document["user"]],
        ["namespace", context.namespace],
        ["servers", summary],
        *([["overcommit", _describe_overcommit(document["overcommit"])]] if document["overcommit"] else []),
        *fast_starts.rows(document["headroom"], document["prePulled"]),
        *(
            [f"quota of {quota_label(key)}", f"{used} of {hard} used"]
            for key, (used, hard) in document["quota"].items()
            # Nobody has these; that they are closed says nothing about one's own use.
            if not key.startswith("services.")
        ),
    ]
    width = max(len(label) for label, _ in rows) + 3
    for label, value in rows:
        console.echo(f"{label + ':':<{width}}{console.printable(str(value))}")
    return 0


def _describe_overcommit(times: dict[str, float]) -> str:
    """Explain overcommitment to the owner of a server."""
    much = " and ".join(f"{name} {number:g} times" for name, number in times.items() if number != 1)
    return f"{much} over: servers take more than is sure only while others leave it idle"
