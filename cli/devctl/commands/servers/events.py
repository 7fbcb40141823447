"""`devctl events`: the events of one server or of all, oldest first.

Invariant: read-only.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from devctl import completion
from devctl.options import Output
from devctl.output import console, tables, times
from devctl.resources.events import concerns, event_text, event_time, related_events

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


def events_command(
    context: Context,
    name: Annotated[str | None, typer.Argument(help="Only of this server.", autocompletion=completion.servers)] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with new ones until Ctrl-C.")] = False,
    output: Output = None,
) -> None:
    """Show what happened to your servers, oldest first."""
    from devservers_core.client.paths import core_path

    form = context.output(output)
    if name:
        context.server(name)
    items = related_events(context, name)
    if not follow:
        if tables.print_objects(form, tables.as_list(items, "v1", "Event"), "event"):
            return
        if not items:
            console.info("no events; the cluster keeps them for about an hour")
            return
        header = ["LAST SEEN", "TYPE", "OBJECT", "REASON", "MESSAGE"]
        rows = [[times.age(event_time(e)), *_event_row(e, form)] for e in items]
        tables.table(header, rows, lambda _, cell: "yellow" if cell == "Warning" else None)
        return
    for event in items:
        _print_event(event, form)
    path = core_path(context.namespace, "events")
    while True:
        version = context.kube.get(path, limit="1")["metadata"]["resourceVersion"]
        try:
            for change in context.kube.watch(path, {"resourceVersion": version}, timeout=300):
                event = change.get("object") or {}
                if change.get("type") in ("ADDED", "MODIFIED") and (name is None or concerns(event, name)):
                    _print_event(event, form)
        except TimeoutError:
            continue


def _event_row(event: Json, form: str) -> list[str]:
    about = event.get("involvedObject") or {}
    text = event_text(event)
    if form != "wide" and len(text) > 140:
        text = text[:139] + "…"
    cells = [str(event.get("type", "")), f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"]
    return [console.printable(word) for word in (*cells, str(event.get("reason", "")), text)]


def _print_event(event: Json, form: str) -> None:
    if form == "json":
        console.echo(json.dumps(event, ensure_ascii=False))  # one line each, so that a reader can take them one by one
    elif form == "yaml":
        console.echo("---\n" + tables.to_yaml(event).rstrip())
    elif form == "name":
        console.echo(f"event/{event['metadata']['name']}")
    else:
        console.echo(f"{(event_time(event) or '')[:19]}  " + "  ".join(_event_row(event, form)))
    sys.stdout.flush()
