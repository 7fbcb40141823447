"""`devctl describe`: everything about one server, and the next command to type.

Invariant: read-only; whatever the cluster holds is printed without control characters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devctl import completion
from devctl.options import Output
from devctl.output import console, tables, times
from devctl.resources.events import event_text, event_time, related_events
from devctl.resources.server_state import phase, status_of
from devservers_core import names

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


_SHOWN_CONDITIONS = {
    ("VolumeDeleting", "True"),
    ("Interrupted", "True"),
    ("FlavorChanged", "True"),
    ("HomeResized", "False"),
}
"""Conditions other than Ready that are printed, by type and status."""


def describe_command(
    context: Context,
    name: Annotated[str, typer.Argument(help="The server.", autocompletion=completion.servers)],
    output: Output = None,
    show_env: Annotated[
        bool, typer.Option("--show-env", help="Show variables that look like secrets, such as tokens, too.")
    ] = False,
) -> None:
    """Show everything about a server: state, reasons, timeline, volumes, recent events.

    Values that look like secrets are shown as ***, unless --show-env is given. json and yaml have them as they are.
    """
    form = context.output(output)
    server = context.server(name)
    if tables.print_objects(form, server, "devserver"):
        return
    from devctl.resources.home import home_claim
    from devctl.resources.queue import position

    home = home_claim(context, server["metadata"]["name"])
    for line in description(server, position(context, server), home, show_env=show_env):
        console.echo(line)
    from devctl.resources.container_state import command_end

    ended = command_end(context, server)
    if ended:
        console.echo("")
        console.echo(f"The command ended: {ended}")
    # A former server of this name may have left its own; whole seconds, because only some times have fractions.
    created = str(server["metadata"].get("creationTimestamp", ""))[:19]
    events = [event for event in related_events(context, name) if (event_time(event) or "")[:19] >= created][-8:]
    if events:
        console.echo("")
        console.echo("Recent events:")
        for event in events:
            count = f" ({event['count']} times)" if (event.get("count") or 1) > 1 else ""
            reason = console.printable(str(event.get("reason", "")))
            console.echo(f"  {times.age(event_time(event)):>6} ago  {reason}: {event_text(event)}{count}")


def description(
    server: Json, position: str | None = None, home: Json | None = None, *, show_env: bool = False
) -> list[str]:
    """The lines of `devctl describe`, without events.

    `place` is the server's position in its queue, `home` the volume claim of its home.
    """
    from devctl.output.progress import stage_line
    from devctl.resources.home import home_line
    from devctl.resources.server_state import ready_condition, stages
    from devservers_core.command_masking import mask
    from devservers_core.masking import mask_value

    spec, status, metadata = server.get("spec") or {}, status_of(server), server["metadata"]
    name, phase_text = metadata["name"], phase(server)
    lines: list[str] = []

    def field(label: str, value: object) -> None:
        if value not in (None, "", "-"):
            lines.append(f"{label + ': ':<14}{console.printable(str(value))}")

    field("Name", name)
    field("Namespace", metadata.get("namespace"))
    lines.append(f"{'Phase:':<14}{console.paint(phase_text, console.PHASE_COLOURS.get(phase_text, ''))}")
    condition = ready_condition(server)
    if phase_text == "Stopped":
        field("Stopped by", status.get("stopReason"))
        field("Next", f"devctl start {name}")
    elif condition.get("status") != "True":
        field("Reason", condition.get("message") or "the operator has not observed it yet")
    elif spec.get("enableSSH", True):
        field("Log in", f"devctl ssh {name}")
    field("In the queue", position)
    for other in status.get("conditions") or []:
        if (other.get("type"), other.get("status")) in _SHOWN_CONDITIONS and other.get("message"):
            field(str(other["type"]), other["message"])
    field("Flavor", spec.get("flavor"))
    field("Image", spec.get("image") or "the platform's own")
    command = [*(spec.get("command") or []), *(spec.get("args") or [])]
    if command:
        import shlex

        arguments = [str(word) for word in command]
        field("Command", shlex.join(arguments if show_env else mask(arguments)))
    field("Home", home_line(server, home))
    if spec.get("sharedVolumeClaimName"):
        field("Shared", f"{spec['sharedVolumeClaimName']} at {names.SHARED_PATH}")
    for volume in spec.get("volumes") or []:
        mode = " (read-only)" if volume.get("readOnly") else ""
        field("Volume", f"{volume['claimName']} at {volume['mountPath']}{mode}")
    for variable in spec.get("env") or []:
        value = str(variable.get("value", ""))
        field("Env", f"{variable['name']}={value if show_env else mask_value(variable['name'], value)}")
    field("Age", times.age(metadata.get("creationTimestamp")))
    if status.get("expiresAt") and phase_text != "Stopped":
        field("Stops in", f"{times.until(status['expiresAt'])} ({status['expiresAt']})")
    activity = status.get("lastActivity") or {}
    if activity.get("at"):
        field("Last active", f"{times.age(activity['at'])} ago ({activity.get('source', 'unknown')})")
    field("Endpoint", status.get("endpoint"))
    field("Pod", status.get("podName"))
    field("Host key", _fingerprint(status.get("sshHostKey")))
    timeline = stages(server)
    if timeline:
        lines += ["", "Timeline of the last start:"]
        lines += ["  " + console.printable(stage_line(stage, took)) for stage, took in timeline]
    return lines


def _fingerprint(key: str | None) -> str | None:
    """The SHA256 fingerprint and type of a public key, in ssh's format."""
    from devservers_core import ssh_keys

    try:
        public = ssh_keys.parse(key)
    except ssh_keys.InvalidKeyError:
        return None
    return f"{public.fingerprint} ({public.kind})"
