"""Reads a DevServer's status: phase, readiness, reason, timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devctl.output import console, times
from devctl.resources.replicas import replicas_of
from devservers_core import names

if TYPE_CHECKING:
    from devservers_core.types import Json


def ready_condition(server: Json) -> Json:
    """The condition Ready, or {} when there is none yet."""
    for condition in server.get("status", {}).get("conditions") or []:
        if condition.get("type") == "Ready":
            return dict(condition)
    return {}


def true_message(server: Json, kind: str) -> str | None:
    """The message of a condition that is True, its reason without one; None when it is not True."""
    for condition in server.get("status", {}).get("conditions") or []:
        if condition.get("type") == kind and condition.get("status") == "True":
            return console.printable(str(condition.get("message") or condition.get("reason") or kind))
    return None


def is_ready(server: Json) -> bool:
    """Whether the server is ready, by a status that observed the newest spec."""
    return status_observes(server, server) and ready_condition(server).get("status") == "True"


def status_observes(server: Json, written: Json) -> bool:
    """Whether a server's status observed the spec that was `written`, or a newer one."""
    newest = written["metadata"].get("generation", 0)
    return bool(server.get("status", {}).get("observedGeneration", 0) >= newest)


def is_replaced(server: Json, before: Json) -> bool:
    """Whether the status is about other pods than the one `before` a restart.

    Pods of a distributed server keep their names: its start has another time then, or it was not ready meanwhile.
    """
    pod, pod_before = status_of(server).get("podName"), status_of(before).get("podName")
    if not pod or not pod_before or pod != pod_before:
        return bool(pod)
    if replicas_of(server) is None:
        return False
    ready, ready_before = ready_condition(server), ready_condition(before)
    since = "lastTransitionTime"
    ended = ready_before.get("status") == "True" and ready.get(since) != ready_before.get(since)
    return ended or _started_at(server) != _started_at(before)


def _started_at(server: Json) -> str | None:
    timeline = status_of(server).get("timeline") or []
    return str(timeline[0].get("at")) if timeline else None


def stages(server: Json) -> list[tuple[str, float | None]]:
    """The timeline as (stage, seconds it took).

    The first stage is the request to start, by the user or by the operator.
    """
    result: list[tuple[str, float | None]] = []
    before = None
    for entry in server.get("status", {}).get("timeline") or []:
        at = times.parse_time(entry.get("at"))
        took = (at - (before or at)).total_seconds() if at else None
        result.append((console.printable(str(entry.get("stage", "?"))), max(took, 0.0) if took is not None else None))
        before = at or before
    return result


def setup_result(server: Json) -> str | None:
    """What the owner's set-up came to at the last start, and where its log is; None where no step has ended."""
    steps = server.get("status", {}).get("setup") or []
    if not steps:
        return None
    texts = [f"{step.get('step')} {_step_result(step)}" for step in steps]
    failed = any(step.get("exitCode") for step in steps)
    log = f"; why is in {names.SETUP_LOG} of the server" if failed else ""
    return f"{', '.join(texts)}{log}"


def _step_result(step: Json) -> str:
    code, seconds = step.get("exitCode"), step.get("seconds")
    if not code:
        return f"done in {seconds}s"
    ends = {124: f"was ended after {seconds}s: it took too long", 126: "could not be started"}
    return ends.get(code, f"failed with exit code {code} after {seconds}s")


def last_start_time(server: Json) -> str | None:
    """When the user last created, started or restarted the server, RFC 3339."""
    annotations = server["metadata"].get("annotations") or {}
    times_written = [
        server["metadata"].get("creationTimestamp"),
        annotations.get(names.ANNOTATION_STARTED_AT),
        annotations.get(names.ANNOTATION_RESTARTED_AT),
    ]
    dated = [(at, text) for text in times_written if (at := times.parse_time(text))]
    return max(dated)[1] if dated else None


def status_is_of_last_start(server: Json) -> bool:
    """Whether the status is about the last requested start, not the one before."""
    requested = times.parse_time(last_start_time(server))
    timeline = server.get("status", {}).get("timeline") or []
    first = times.parse_time(timeline[0].get("at")) if timeline else None
    return requested is None or first is None or first >= requested.replace(microsecond=0)


def not_ready_reason(server: Json) -> str | None:
    """The operator's reason why a server is not ready; None when there is none."""
    condition = ready_condition(server)
    if not condition or condition.get("status") == "True":
        return None
    text = condition.get("message") or condition.get("reason") or ""
    return console.printable(text) or None


def status_of(server: Json) -> Json:
    """The status; {} before the operator has written one."""
    return server.get("status") or {}


def phase(server: Json) -> str:
    """The phase that users see."""
    if server["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return str(status_of(server).get("phase") or "Pending")


def shown_reason(server: Json) -> str:
    """Why a server is not running, "-" when it is."""
    status = status_of(server)
    if status.get("phase") == "Stopped" and status.get("stopReason"):
        return f"stopped: {status['stopReason']}"
    return not_ready_reason(server) or owner_notice(server) or "-"


def owner_notice(server: Json) -> str | None:
    """What the owner of a running server must know before it stops; None when nothing."""
    conditions = {str(condition.get("type")): condition for condition in status_of(server).get("conditions") or []}
    deleting, flavor = conditions.get("VolumeDeleting") or {}, conditions.get("FlavorChanged") or {}
    if deleting.get("status") == "True":
        return console.printable(str(deleting.get("message") or "")) or None
    if (flavor.get("status"), flavor.get("reason")) == ("True", "FlavorNotFound"):
        return console.printable(f"its flavor {(server.get('spec') or {}).get('flavor')} no longer exists")
    return None
