"""devctl events: what happened, of one server or of all, told by the objects' deterministic names.

Invariant: read-only; an event belongs to a server if it is about the server or one of its children.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from devctl import complete, render
from devctl.errors import from_api
from devctl.listing import Output
from devservers_core import names
from devservers_core.errors import ApiError

if TYPE_CHECKING:
    from devctl.session import Session
    from devservers_core.types import Json


def event_time(event: Json) -> str | None:
    """When an event was last seen."""
    series = event.get("series") or {}
    found = (
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event.get("firstTimestamp")
        or event["metadata"].get("creationTimestamp")
    )
    return str(found) if found else None


def concerns(event: Json, name: str) -> bool:
    """Whether an event is about server `name` or one of its children, by their deterministic names."""
    about = event.get("involvedObject") or {}
    kind, other = about.get("kind"), str(about.get("name", ""))
    if other == name or (kind, other) == ("PersistentVolumeClaim", names.home_name(name)):
        return True
    # A Deployment's ReplicaSet is NAME-hash, its pod NAME-hash-suffix; hashes hold no vowels, no dashes.
    pattern = {"ReplicaSet": r"-[a-z0-9]{6,10}", "Pod": r"-[a-z0-9]{6,10}-[a-z0-9]{5}"}.get(str(kind))
    return pattern is not None and re.fullmatch(re.escape(name) + pattern, other) is not None


def related_events(session: Session, name: str | None) -> list[Json]:
    """Events of the namespace, of one server when `name` is given, oldest first; [] when not readable."""
    from devservers_core.client.paths import core_path

    try:
        items = session.kube.get(core_path(session.namespace, "events")).get("items") or []
    except ApiError as error:
        if error.status == 403 and name is not None:
            return []
        raise from_api(error, "list events") from None
    found = [event for event in items if name is None or concerns(event, name)]
    return sorted(found, key=lambda event: event_time(event) or "")


def events_command(
    session: Session,
    name: Annotated[str | None, typer.Argument(help="Only of this server.", autocompletion=complete.servers)] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with new ones until Ctrl-C.")] = False,
    output: Output = None,
) -> None:
    """Show what happened to your servers, oldest first."""
    from devservers_core.client.paths import core_path

    form = session.output(output)
    if name:
        session.server(name)
    items = related_events(session, name)
    if not follow:
        if render.machine(form, render.as_list(items, "v1", "Event"), "event"):
            return
        if not items:
            render.say("no events; the cluster keeps them for about an hour")
            return
        header = ["LAST SEEN", "TYPE", "OBJECT", "REASON", "MESSAGE"]
        rows = [[render.age(event_time(e)), *_event_row(e, form)] for e in items]
        render.table(header, rows, lambda _, cell: "yellow" if cell == "Warning" else None)
        return
    for event in items:
        _print_event(event, form)
    path = core_path(session.namespace, "events")
    while True:
        version = session.kube.get(path, limit="1")["metadata"]["resourceVersion"]
        try:
            for change in session.kube.watch(path, {"resourceVersion": version}, timeout=300):
                event = change.get("object") or {}
                if change.get("type") in ("ADDED", "MODIFIED") and (name is None or concerns(event, name)):
                    _print_event(event, form)
        except TimeoutError:
            continue


def event_text(event: Json) -> str:
    return render.clean(" ".join(str(event.get("message", "")).split()))


def _event_row(event: Json, form: str) -> list[str]:
    about = event.get("involvedObject") or {}
    text = event_text(event)
    if form != "wide" and len(text) > 140:
        text = text[:139] + "…"
    words = [str(event.get("type", "")), f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"]
    return [render.clean(word) for word in (*words, str(event.get("reason", "")), text)]


def _print_event(event: Json, form: str) -> None:
    if form == "json":
        render.out(json.dumps(event, ensure_ascii=False))  # one line each, so that a reader can take them one by one
    elif form == "yaml":
        render.out("---\n" + render.to_yaml(event).rstrip())
    elif form == "name":
        render.out(f"event/{event['metadata']['name']}")
    else:
        render.out(f"{(event_time(event) or '')[:19]}  " + "  ".join(_event_row(event, form)))
    sys.stdout.flush()
