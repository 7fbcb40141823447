"""What is kept of a server after its end: why, when, its last output.

Invariant: the record comes from the operator and from what ran in the server: it is printed without control characters
and within bounds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from devctl.output import console, times
from devctl.resources import home
from devctl.resources.lifecycle.planned import REASONS, is_stopped
from devctl.resources.replicas import create_command
from devctl.resources.server_state import last_start_time, phase, status_of
from devservers_core import names
from devservers_core.errors import ApiError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


MAX_LINES, MAX_LINE = 100, 1000
"""Lines, and characters of one, that are printed."""
LATELY_SECONDS = 900
"""For how long whoever connects hears of an end: a closed terminal did not always say why."""


def read_record(context: Context, server: str) -> Json | None:
    """Read the ConfigMap about the last end of a server; None without one."""
    from devservers_core.client.paths import core_path

    try:
        record = context.kube.get(core_path(context.namespace, "configmaps", names.ended_name(server)))
    except ApiError:
        return None
    labels = record["metadata"].get("labels") or {}
    return record if labels.get(names.LABEL_ENDED) == "true" and labels.get(names.LABEL_NAME) == server else None


def is_about(record: Json, server: Json) -> bool:
    """Whether a record is about this server's last run, not an earlier one or a server that had its name before."""
    at = times.parse_time((record.get("data") or {}).get("at"))
    started = times.parse_time(last_start_time(server))
    return at is not None and (started is None or at >= started)


def ended_since_start(server: Json) -> bool:
    """Whether a server was stopped, or ended by something else, since its owner last started it."""
    at = times.parse_time((status_of(server).get("lastStop") or {}).get("at"))
    started = times.parse_time(last_start_time(server))
    return phase(server) == "Stopped" or (at is not None and (started is None or at >= started))


def last_end(server: Json) -> str:
    """When and why a server ended that runs again, or will: `3m ago, outOfMemory: Its container ran out of memory`."""
    last = status_of(server).get("lastStop") or {}
    reason, message = str(last.get("reason") or "unknown"), str(last.get("message") or "")
    shown = any(message == other.get("message") for other in status_of(server).get("conditions") or [])
    return f"{times.age(last.get('at'))} ago, " + (f"{reason}: {message}" if message and not shown else reason)


def ended_lately(server: Json) -> str | None:
    """One line for a server that ended lately without being asked to, and is or comes up again; None for any other."""
    last, name = status_of(server).get("lastStop") or {}, server["metadata"]["name"]
    at = times.parse_time(last.get("at"))
    if at is None or (datetime.now(UTC) - at).total_seconds() > LATELY_SECONDS or is_stopped(server):
        return None
    if not ended_since_start(server):
        return None
    return (
        f"{name} ended {times.age(last['at'])} ago, and was started again: {console.printable(describe_reason(last))}"
    )


def killed_before(server: Json, record: Json | None) -> str | None:
    """The line about processes of a server's last run that were killed because memory ran out."""
    last = status_of(server).get("lastStop") or {}
    return killed(last.get("oomKills")) or killed(((record or {}).get("data") or {}).get("oomKills"))


def last_lines(record: Json) -> list[str]:
    """The last lines that the server printed, oldest first."""
    text = str((record.get("data") or {}).get("lines") or "")
    return [console.printable(line[:MAX_LINE]) for line in text.rstrip("\n").split("\n")[-MAX_LINES:]] if text else []


def describe_reason(data: Json) -> str:
    """Why it ended: `idle: nothing happened in it`."""
    reason = str(data.get("reason") or "unknown")
    message = str(data.get("message") or REASONS.get(reason, ""))
    return f"{reason}: {message}" if message else reason


def killed(count: object) -> str | None:
    """The line about processes that were killed because memory ran out; None for none."""
    number = int(str(count)) if str(count).isdecimal() else 0
    return f"{number} process{'es' if number > 1 else ''} killed because memory ran out" if number else None


def description(server: str, record: Json, claim: Json | None, replicas: int | None = None) -> list[str]:
    """The lines of `devctl describe` for a server that is deleted; `claim` is what home.home_claim returned.

    A distributed server had `replicas`, 0 if how many isn't known.
    """
    data = record.get("data") or {}
    at, started = times.parse_time(data.get("at")), times.parse_time(data.get("startedAt"))
    fields = {
        "Name": server,
        "Namespace": record["metadata"].get("namespace"),
        "Phase": "Deleted",
        "Ended": f"{times.age(data.get('at'))} ago ({data['at']})" if at else None,
        "Reason": describe_reason(data),
        "Ran for": times.duration((at - started).total_seconds()) if at and started else None,
        "Memory": killed(data.get("oomKills")),
        "Flavor": data.get("flavor"),
        "Image": data.get("image"),
        "Home": _home_line(server, data, claim, replicas),
    }
    lines = [f"{label + ':':<14}{console.printable(str(value))}" for label, value in fields.items() if value]
    return [*lines, *output_lines(record)]


def output_lines(record: Json) -> list[str]:
    """The last output with its heading; empty without any."""
    lines = last_lines(record)
    return ["", "Last output before it ended:", *("  " + line for line in lines)] if lines else []


def _home_line(server: str, data: Json, claim: Json | None, replicas: int | None) -> str:
    command = create_command(server, data.get("flavor"), replicas)
    if claim is None:
        return f"`{command}` makes the server again, with its home if that was kept"
    if not claim or home.is_deleting(claim):
        return "none is kept" + ("; it was on a volume that is deleted" if data.get("home") else "")
    kept = f"{home.size(claim)} kept on volume claim {data.get('home') or names.home_name(server)}"
    return f"{kept}; `{command}` brings {'it' if replicas is None else 'the homes'} back"
