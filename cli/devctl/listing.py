"""devctl list, describe, flavors, events: what there is and why it is as it is.

Invariant: nothing here writes to the cluster; every list has the formats table, wide, json, yaml and name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devctl import complete, names, render
from devctl.errors import ApiError, from_api

if TYPE_CHECKING:
    from devctl.kube import Json
    from devctl.session import Session

Output = Annotated[
    str | None, typer.Option("-o", "--output", metavar="FORMAT", help="table, wide, json, yaml or name.")
]


def _status(server: Json) -> Json:
    return server.get("status") or {}


def phase(server: Json) -> str:
    """The phase a person is shown."""
    if server["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return str(_status(server).get("phase") or "Pending")


def reason(server: Json) -> str:
    """Why a server is not running, "-" when it is."""
    from devctl.wait import why

    status = _status(server)
    if status.get("phase") == "Stopped" and status.get("stopReason"):
        return f"stopped: {status['stopReason']}"
    return why(server) or "-"


def _phase_colour(column: int) -> Any:  # noqa: ANN401
    return lambda at, cell: render.PHASE_COLOURS.get(cell) if at == column else None


def list_command(
    session: Session,
    all_users: Annotated[bool, typer.Option("--all", "-A", help="Servers of all users, as far as you may.")] = False,
    output: Output = None,
) -> None:
    """List your servers."""
    form = session.output(output)
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
        spec, status = server.get("spec") or {}, _status(server)
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
    render.table(header, rows, _phase_colour(header.index("PHASE")))


def flavors_command(session: Session, output: Output = None) -> None:
    """List the sizes a server can have."""
    from devctl.kube import flavor_path

    form = session.output(output)
    try:
        items = list(session.kube.get(flavor_path()).get("items") or [])
    except ApiError as error:
        raise from_api(error, "list flavors") from None
    if render.machine(form, render.as_list(items, names.API_VERSION, "DevServerFlavor"), "devserverflavor"):
        return
    if not items:
        render.say("this cluster has no flavors; an administrator makes them")
        return
    default = session.config.get("flavor")
    header = ["NAME", "CPU", "MEMORY", "GPU", "$/HOUR", "DESCRIPTION"]
    if form == "wide":
        header[-1:] = ["SHM", "NODES", "DESCRIPTION"]
    rows = []
    for flavor in items:
        spec, name = flavor.get("spec") or {}, flavor["metadata"]["name"]
        price = spec.get("pricePerHour")
        row = [
            name + ("*" if name == default else ""),
            _range(spec, "cpu"),
            _range(spec, "memory"),
            _gpus(spec),
            f"{float(price):.2f}" if price is not None else "-",
            str(spec.get("description", "")),
        ]
        if form == "wide":
            selector = ",".join(f"{k}={v}" for k, v in (spec.get("nodeSelector") or {}).items())
            row[-1:] = [str(spec.get("shmSize", "1Gi")), selector or "any", str(spec.get("description", ""))]
        rows.append(row)
    render.table(header, rows)
    if any(row[0].endswith("*") for row in rows):
        render.say("* what `devctl create NAME` takes; the first amount is sure, the second the most it may use")


def _range(spec: Json, resource: str) -> str:
    resources = spec.get("resources") or {}
    low = (resources.get("requests") or {}).get(resource)
    high = (resources.get("limits") or {}).get(resource)
    if low is None and high is None:
        return "-"
    return str(low) if low == high or high is None else f"{low or 0} - {high}"


def _gpus(spec: Json) -> str:
    resources = spec.get("resources") or {}
    amounts = (resources.get("requests") or {}) | (resources.get("limits") or {})
    return ", ".join(f"{v} {k}" for k, v in amounts.items() if "/" in k and not k.startswith("hugepages")) or "-"


def describe_command(
    session: Session,
    name: Annotated[str, typer.Argument(help="The server.", autocompletion=complete.servers)],
    output: Output = None,
) -> None:
    """Show everything about a server: state, reasons, timeline, volumes, recent events."""
    form = session.output(output)
    server = session.server(name)
    if render.machine(form, server, "devserver"):
        return
    for line in description(server):
        render.out(line)
    found = related_events(session, name)[-8:]
    if found:
        render.out("")
        render.out("Recent events:")
        for event in found:
            count = f" ({event['count']} times)" if (event.get("count") or 1) > 1 else ""
            render.out(f"  {render.age(event_time(event)):>6} ago  {event.get('reason', '')}: {_text(event)}{count}")


def description(server: Json) -> list[str]:
    """The lines of `describe` without events."""
    from devctl.wait import last_start, ready_condition, stage_line, stages

    spec, status, metadata = server.get("spec") or {}, _status(server), server["metadata"]
    name, shown = metadata["name"], phase(server)
    lines: list[str] = []

    def field(label: str, value: object) -> None:
        if value not in (None, "", "-"):
            lines.append(f"{label + ':':<14}{render.clean(str(value))}")

    field("Name", name)
    field("Namespace", metadata.get("namespace"))
    lines.append(f"{'Phase:':<14}{render.paint(shown, render.PHASE_COLOURS.get(shown, ''))}")
    condition = ready_condition(server)
    if shown == "Stopped":
        field("Stopped by", status.get("stopReason"))
        field("Next", f"devctl start {name}")
    elif condition.get("status") != "True":
        field("Reason", condition.get("message") or "the operator has not looked at it yet")
    elif spec.get("enableSSH", True):
        field("Log in", f"devctl ssh {name}")
    for other in status.get("conditions") or []:
        telling = (other.get("type"), other.get("status")) in (("FlavorChanged", "True"), ("HomeResized", "False"))
        if telling and other.get("message"):
            field(str(other["type"]), other["message"])
    field("Flavor", spec.get("flavor"))
    field("Image", spec.get("image") or "the platform's own")
    command = [*(spec.get("command") or []), *(spec.get("args") or [])]
    if command:
        import shlex

        field("Command", shlex.join(map(str, command)))
    field("Home", _home(spec, name))
    if spec.get("sharedVolumeClaimName"):
        field("Shared", f"{spec['sharedVolumeClaimName']} at {names.SHARED_PATH}")
    for volume in spec.get("volumes") or []:
        mode = " (read-only)" if volume.get("readOnly") else ""
        field("Volume", f"{volume['claimName']} at {volume['mountPath']}{mode}")
    for variable in spec.get("env") or []:
        field("Env", f"{variable['name']}={variable.get('value', '')}")
    field("Age", render.age(metadata.get("creationTimestamp")))
    if status.get("expiresAt") and shown != "Stopped":
        field("Stops in", f"{render.until(status['expiresAt'])} ({status['expiresAt']})")
    activity = status.get("lastActivity") or {}
    if activity.get("at"):
        field("Last active", f"{render.age(activity['at'])} ago ({activity.get('source', 'unknown')})")
    field("Endpoint", status.get("endpoint"))
    field("Pod", status.get("podName"))
    field("Host key", _fingerprint(status.get("sshHostKey")))
    done = stages(server, last_start(server))
    if done:
        lines += ["", "Timeline of the last start:"]
        lines += ["  " + render.clean(stage_line(stage, took)) for stage, took in done]
    return lines


def _home(spec: Json, name: str) -> str:
    if spec.get("persistentHomeSize"):
        return f"{spec['persistentHomeSize']} on volume claim {names.home_claim(name)}, kept when stopped or deleted"
    for volume in spec.get("volumes") or []:
        if str(volume.get("mountPath", "")).rstrip("/") == names.HOME:
            return f"your volume claim {volume['claimName']}"
    return "not persistent: lost when the server stops"


def _fingerprint(key: str | None) -> str | None:
    """The SHA256 fingerprint of a public key, as ssh shows it."""
    if not key or len(key.split()) < 2:
        return None
    import base64
    import hashlib

    try:
        digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    except ValueError:
        return None
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')} ({key.split()[0]})"


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
    if other == name or (kind, other) == ("PersistentVolumeClaim", names.home_claim(name)):
        return True
    # A Deployment's ReplicaSet is NAME-hash, its pod NAME-hash-suffix; hashes hold no vowels, no dashes.
    pattern = {"ReplicaSet": r"-[a-z0-9]{6,10}", "Pod": r"-[a-z0-9]{6,10}-[a-z0-9]{5}"}.get(str(kind))
    return pattern is not None and re.fullmatch(re.escape(name) + pattern, other) is not None


def related_events(session: Session, name: str | None) -> list[Json]:
    """Events of the namespace, of one server when `name` is given, oldest first; [] when not readable."""
    from devctl.kube import core_path

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
    from devctl.kube import core_path

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


def _text(event: Json) -> str:
    return render.clean(" ".join(str(event.get("message", "")).split()))


def _event_row(event: Json, form: str) -> list[str]:
    about = event.get("involvedObject") or {}
    text = _text(event)
    if form != "wide" and len(text) > 140:
        text = text[:139] + "…"
    return [
        str(event.get("type", "")),
        f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}",
        str(event.get("reason", "")),
        text,
    ]


def _print_event(event: Json, form: str) -> None:
    if form == "json":
        import json

        render.out(json.dumps(event, ensure_ascii=False))  # one line each, so that a reader can take them one by one
    elif form == "yaml":
        render.out("---\n" + render.to_yaml(event).rstrip())
    elif form == "name":
        render.out(f"event/{event['metadata']['name']}")
    else:
        render.out(f"{(event_time(event) or '')[:19]}  " + "  ".join(_event_row(event, form)))
    import sys

    sys.stdout.flush()
