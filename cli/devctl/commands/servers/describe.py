"""`devctl describe`: everything about one server, and the next command to type.

Invariant: read-only; whatever the cluster holds is printed without control characters.
"""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Annotated

import typer

from devctl import completion
from devctl.options import Output
from devctl.output import console, tables, times
from devctl.resources.events import event_text, event_time, related_events
from devctl.resources.lifecycle import ended, planned
from devctl.resources.lifecycle.zone import time_zone
from devctl.resources.replicas import replicas_by_homes, replicas_of, summary
from devctl.resources.server_state import is_ready, not_ready_reason, phase, setup_result, stages, status_of
from devservers_core import names
from devservers_core.errors import NOT_FOUND, CommandError
from devservers_core.replicas import server_of_home

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devctl.context import Context
    from devctl.resources.lifecycle.limits import Limits
    from devservers_core.types import Json


_SHOWN_CONDITIONS = {
    ("VolumeDeleting", "True"),
    ("Interrupted", "True"),
    ("FlavorChanged", "True"),
    ("HomeResized", "False"),
    ("TimeLimited", "True"),
    ("ActivityUnknown", "True"),
    ("AgentMissing", "True"),
    ("BackendReplaced", "True"),
}
"""Conditions other than Ready that are printed, by type and status."""


def describe_command(
    context: Context,
    name: Annotated[str, typer.Argument(help="The server.", autocompletion=completion.servers)],
    output: Output = None,
    show_env: Annotated[
        bool, typer.Option("--show-env", help="Show variables that look like secrets, such as tokens, too.")
    ] = False,
    trace: Annotated[
        bool, typer.Option("--trace", help="Show only the last start: each stage, when it came, what it took.")
    ] = False,
) -> None:
    """Show everything about a server: state, reasons, timeline, volumes, recent events.

    Time limits count from the last start; a default of the flavor is shown as it is now. For a week it also says why
    and when a server that is deleted ended, with its last output and how to get its home back.

    Values that look like secrets are shown as ***, unless --show-env is given. json and yaml have them as they are.
    """
    form = context.output(output)
    try:
        server = context.server(name)
    except CommandError as failure:
        record = ended.read_record(context, name) if failure.code == NOT_FOUND else None
        if record is None or trace:
            raise
        _print_ended(context, name, record, form)
        return
    if tables.print_objects(form, server, "devserver"):
        return
    if trace:
        _print_trace(server)
        return
    from devctl.resources.home import home_claim
    from devctl.resources.lifecycle.limits import limits_of
    from devctl.resources.people.user_setup import setup_secrets
    from devctl.resources.queue import position

    home = home_claim(context, server["metadata"]["name"], replicas_of(server))
    limits = limits_of(context, server)
    record = ended.read_record(context, name) if ended.ended_since_start(server) else None
    if record is not None and not ended.is_about(record, server):
        record = None
    zone, queued = time_zone(context), position(context, server)
    of_setup = setup_secrets(context, server)
    for line in description(
        server, queued, home, show_env=show_env, zone=zone, limits=limits, record=record, setup_secrets=of_setup
    ):
        console.echo(line)
    for line in ended.output_lines(record) if record is not None else []:
        console.echo(line)
    from devctl.resources.container_state import command_end

    command_ended = command_end(context, server)
    if command_ended:
        console.echo("")
        console.echo(f"The command ended: {command_ended}")
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


def _print_ended(context: Context, name: str, record: Json, form: str) -> None:
    from devctl.resources.home import home_claim, kept_homes

    if not tables.print_objects(form, record, "configmap"):
        home = str((record.get("data") or {}).get("home") or "")
        replicas = None
        if server_of_home(home):
            kept = kept_homes(context, name, distributed=True)
            replicas = replicas_by_homes(name, [claim["metadata"]["name"] for claim in kept]) or 0
        claim = home_claim(context, name, None if replicas is None else 1)
        for line in ended.description(name, record, claim, replicas):
            console.echo(line)


def _print_trace(server: Json) -> None:
    """Print the stages of the last start with the seconds of each and from the beginning."""
    timeline = stages(server)
    if not timeline:
        console.info(f"{server['metadata']['name']} has not been started yet")
        return
    rows, total = [], 0.0
    for (stage, took), entry in zip(timeline, status_of(server)["timeline"], strict=True):
        total += took or 0.0
        rows.append([stage, str(entry.get("at", "-")), f"{took or 0.0:.1f}s", f"{total:.1f}s"])
    tables.table(["STAGE", "AT", "TOOK", "SINCE START"], rows)
    if not is_ready(server) and phase(server) != "Stopped":
        reason = not_ready_reason(server)
        console.info(
            f"{phase(server)} since {times.age(str(status_of(server)['timeline'][-1].get('at')))}"
            + (f": {reason}" if reason else "")
        )


def description(
    server: Json,
    position: str | None = None,
    home: Json | None = None,
    *,
    show_env: bool = False,
    zone: tzinfo | None = UTC,
    limits: Limits | None = None,
    record: Json | None = None,
    setup_secrets: Sequence[Json] = (),
) -> list[str]:
    """The lines of `devctl describe`, without events.

    `position` is the server's in its queue, `home` the volume claim of its home, `zone` that of the times,
    None for this machine's, `limits` those of flavor and user, `record` that of its last end,
    `setup_secrets` what the set-up adds to its secrets.
    """
    from devctl.output.progress import stage_line
    from devctl.resources import secret_references
    from devctl.resources.home import home_line
    from devctl.resources.lifecycle.settings import facts
    from devctl.resources.server_state import ready_condition
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
        field("Stopped by", planned.because(server))
        last = status.get("lastStop") or {}
        field("Stopped", f"{times.age(last['at'])} ago" if times.parse_time(last.get("at")) else None)
        field("Memory", ended.killed_before(server, record))
        field("Next", f"devctl start {name}")
    elif condition.get("status") != "True":
        field("Reason", condition.get("message") or "the operator has not observed it yet")
    elif spec.get("enableSSH", True):
        field("Log in", f"devctl ssh {name}")
    if phase_text != "Stopped" and ended.ended_since_start(server):
        field("Last end", ended.last_end(server))
        field("Memory", ended.killed_before(server, record))
    field("In the queue", position)
    for other in status.get("conditions") or []:
        if (other.get("type"), other.get("status")) in _SHOWN_CONDITIONS and other.get("message"):
            field(str(other["type"]), other["message"])
    field("Replicas", summary(server))
    field("Flavor", spec.get("flavor"))
    field("Image", spec.get("image") or f"the default of flavor {spec.get('flavor')}")
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
    for secret in spec.get("secrets") or []:
        field("Secret", secret_references.description(secret))
    for secret in setup_secrets:
        field("Secret", f"{secret_references.description(secret)} (of your set-up, as of its next start)")
    field("Set-up", setup_result(server))
    field("Age", times.age(metadata.get("creationTimestamp")))
    for label, value in facts(server, zone, limits):
        field(label, value)
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
