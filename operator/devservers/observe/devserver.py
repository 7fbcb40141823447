"""The status of a DevServer, computed from its children, a decision and the clock.

Invariant: the same children, server and clock give the same status, so a status is written only when its meaning
changes. Everything is computed from scratch each time, except the times that only the previous status has (transitions,
the stages of the current start).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from devservers.api.conditions import Condition, find
from devservers.api.devserver import DevServer
from devservers.api.devserver_status import DevServerStatus
from devservers.api.flavor import DevServerFlavor
from devservers_core.duration import format_duration
from devservers_core.names import SSH_PORT, STOPPED_BY_EXPIRATION, user_of
from devservers_core.replicas import NCCL, replica_name
from devservers_core.types import Json

from . import pods
from .children import Children, serving_pod
from .conditions import make_condition
from .ends.ended import End
from .ends.interruption import interrupted_condition
from .ends.last_stop import last_stop, unasked_end
from .events import Event, status_events, stop_event
from .lifetime.lifecycle import QUIET_REASONS, Decision
from .lifetime.planned_stop import announce
from .lifetime.time_limits import limited_message
from .progress.phase import ServerPhase, server_phase
from .progress.timeline import recorded_timeline, timeline
from .reports.activity_writes import coarse_activity, reported_activity
from .reports.setup_steps import observed_setup
from .reports.volume_use import volume_use
from .status_write_delay import status_write_delay
from .times import format_time, whole_seconds
from .volumes import deletion_message, home_size_state

__all__ = ["Children", "Event", "Observation", "invalid_status", "observe", "previous_status", "serving_pod"]


UNREADABLE_TIME = timedelta(hours=1)
"""How long a server runs on whose object can't be read: enough to correct it."""
UNKNOWN = "ActivityUnknown"
UNKNOWN_STAYS = timedelta(minutes=5)
"""How long the condition stays after it began, whatever the reports say meanwhile."""
_KEPT_OF_UNREADABLE = ("expiresAt", "stopReason", "lastStop", "hold")


@dataclass(frozen=True, slots=True)
class Observation:
    """The result of observing a server once."""

    status: Json
    """The whole status, camelCase; equal to the previous one when there is nothing to write."""

    requeue_after: timedelta | None
    """When to observe again without an event, None when only an event can change the status."""

    events: tuple[Event, ...] = ()
    """The Events to post with the write of the status."""

    end: End | None = None
    """The end to record before the write of the status; None without one that the operator didn't decide."""


def observe(server: DevServer, children: Children, decision: Decision, now: datetime) -> Observation:
    """The status of `server`, given its children and what was decided; `now` is aware."""
    previous = previous_status(server)
    phase = server_phase(server, children, decision, now)
    pod = serving_pod(children)
    coming = decision.next_stop if decision.running else None
    announcement = announce(coming, server.status.planned_stop, now)
    awaited = decision.running and decision.activity is not None and decision.activity.awaited
    planned = server.status.planned_stop
    if awaited and announcement.planned is None and planned is not None and planned.reason in QUIET_REASONS:
        # After a change of leader nothing is known at first: what was announced stays.
        announcement = replace(announcement, planned=previous["plannedStop"])
    candidate, end = _status(server, children, decision, phase, pod, now)
    candidate |= {"plannedStop": announcement.planned} if announcement.planned else {}
    delays = [decision.requeue_after, phase.settles_after, announcement.requeue_after]
    candidate, wait = coarse_activity(previous, candidate, decision, now)
    delays.append(wait)
    if decision.activity is not None and decision.activity.checked_at is not None and decision.running:
        delays.append(decision.activity.checked_at + timedelta(seconds=1) - now)
    delay = status_write_delay(previous, candidate, now, pods.created_at(pod) if pod else None)
    if delay is not None:
        return Observation(previous, _soonest(*delays, delay))
    events = status_events(previous, candidate)
    if coming is not None and announcement.planned is not None and announcement.planned != previous.get("plannedStop"):
        events = (*events, stop_event(server.name, coming, now))
    return Observation(candidate, _soonest(*delays), events, end)


def previous_status(server: DevServer) -> Json:
    """The server's stored status, in the shape that `observe` returns."""
    return server.status.to_dict()


def invalid_status(raw: Mapping[str, Any], message: str, now: datetime, *, runs: bool = False) -> Json:
    """The status of a stored object that doesn't fit its model: Failed, InvalidSpec, and why.

    It keeps when the server ends, and how it ended last. One that `runs` gets a planned stop: limits are in what can't
    be read, so it runs for UNREADABLE_TIME at most, and no longer than its last status says.
    """
    metadata = raw.get("metadata") or {}
    try:
        before = DevServerStatus.model_validate(raw.get("status") or {})
    except ValueError:
        before = DevServerStatus()
    generation = int(metadata.get("generation") or 0)
    text = f"{message}. Correct it with `kubectl edit devserver {metadata.get('name')}`."
    planned = _unreadable_stop(before, now) if runs else None
    if planned is not None:
        text += f" It stops at {planned['at']} unless that is done."
    ready = make_condition(before.conditions, "Ready", False, "InvalidSpec", text, generation=generation, now=now)
    kept = {field: value for field, value in before.to_dict().items() if field in _KEPT_OF_UNREADABLE}
    status: Json = {**kept, "phase": "Failed", "conditions": [ready], "observedGeneration": generation}
    user = user_of(str(metadata.get("namespace") or ""))
    return status | ({"plannedStop": planned} if planned else {}) | ({"user": user} if user else {})


def _unreadable_stop(before: DevServerStatus, now: datetime) -> Json:
    """The planned stop of a running server whose object can't be read; once announced it stays."""
    announced = before.planned_stop
    ends = [whole_seconds(now) + UNREADABLE_TIME, before.expires_at, announced.at if announced else None]
    at = min(end for end in ends if end is not None)
    if announced is not None and announced.at == at:
        return announced.to_dict()
    return {"at": format_time(at), "reason": STOPPED_BY_EXPIRATION, "announcedAt": format_time(now)}


def _status(
    server: DevServer, children: Children, decision: Decision, phase: ServerPhase, pod: Json | None, now: datetime
) -> tuple[Json, End | None]:
    """The status but for what is planned, and the end that it tells of and nobody decided."""
    active = decision.running and phase.name != "Terminating"
    # While a replica is missing, what the others have reached stays.
    lacks_replica = server.replicas is not None and pod is None and server.status.pod_name is not None
    stages = timeline(server, pod, now, children.queue) if active and not lacks_replica else recorded_timeline(server)
    status = previous_status(server)
    conditions = _conditions(server, children, decision, phase, pod, now, running=active)
    end = unasked_end(server, children, conditions, decision, now)
    fields: Json = {
        "phase": phase.name,
        "conditions": conditions,
        "timeline": [{"stage": stage, "at": format_time(at)} for stage, at in stages],
        "endpoint": f"{server.name}.{server.metadata.namespace}.svc:{SSH_PORT}" if server.spec.enable_ssh else None,
        "sshHostKey": children.host_key_public or server.status.ssh_host_key,
        **_replicas(server, children, pod, running=active),
        "expiresAt": format_time(decision.expires_at) if decision.expires_at else None,
        "hold": decision.hold.status() if decision.hold is not None and active else None,
        "lastActivity": reported_activity(decision) or status.get("lastActivity"),
        "stopReason": decision.stop_reason,
        "lastStop": last_stop(server, children, decision, end, phase.message, now),
        "volumes": _volumes(server, status, decision),
        "setup": observed_setup(status, _ready(conditions), pod if active else None, decision.activity),
        "observedGeneration": server.metadata.generation,
        "user": server.owner or None,
    }
    return {key: value for key, value in fields.items() if value not in (None, [])}, end


def _replicas(server: DevServer, children: Children, pod: Json | None, *, running: bool) -> Json:
    """status.podName and, of a distributed server, how many replicas are ready."""
    if not running:
        return {}
    if server.replicas is None:
        return {"podName": pods.pod_name(pod)}
    active = pods.replica_pods(children.pods)
    ready = sum(map(pods.is_ready, active))
    return {
        # Also while replica 0 is missing: the server runs as long as some replica does.
        "podName": replica_name(server.name, 0) if active else None,
        "ready": f"{ready}/{server.replicas}",
        "readyReplicas": ready,
        "replicas": server.replicas,
    }


def _conditions(
    server: DevServer,
    children: Children,
    decision: Decision,
    phase: ServerPhase,
    pod: Json | None,
    now: datetime,
    *,
    running: bool,
) -> list[Json]:
    states = [("Ready", phase.ready, phase.reason, phase.message)]
    queue = children.queue
    if running and queue is not None and queue.settles_after is None:
        states.append(("Admitted", queue.admitted_at is not None, queue.reason, queue.kueue_message))
    flavor, name, previous = server.spec.flavor, server.name, server.status.conditions
    if pod is not None and phase.name != "Terminating":
        if children.flavor is None:
            message = (
                f"The flavor {flavor} no longer exists: {name} keeps running, but can't start again once it "
                "stops. Ask an administrator for the flavor, or create a server of another one (`devctl flavors`)."
            )
            states.append(("FlavorChanged", True, "FlavorNotFound", message))
        elif children.flavor_changed:
            message = f"The flavor {flavor} was changed after this start. `devctl restart {name}` applies it."
            states.append(("FlavorChanged", True, "FlavorChanged", message))
    replaced = _replaced_backend(server, children.flavor) if running else None
    if replaced is not None:
        states.append(("BackendReplaced", True, "NoGPUs", replaced))
    deleting = deletion_message(children.claims_being_deleted, children.home_claim)
    if deleting is not None:
        states.append(("VolumeDeleting", True, "VolumeDeleting", deleting))
    home = home_size_state(server, children.home_claim, children.home_error)
    if home is not None:
        states.append(("HomeResized", home.ok, home.reason, home.message))
    if running:
        states += _lifecycle_states(decision, name, find(previous, UNKNOWN), now, ready=phase.ready)
    generation = server.metadata.generation
    conditions = [
        make_condition(previous, kind, ok, reason, message, generation=generation, now=now)
        for kind, ok, reason, message in states
    ]
    interrupted = interrupted_condition(server, children.workload, children.pods, now, running=running)
    return [*conditions, interrupted] if interrupted is not None else conditions


def _replaced_backend(server: DevServer, flavor: DevServerFlavor | None) -> str | None:
    """What of a distributed server's choice of NCCL has no effect without GPUs; None when nothing is replaced."""
    asked = server.spec.distributed
    if asked is None or server.replicas is None or flavor is None or flavor.gpus:
        return None
    if asked.backend == NCCL:
        return f"Flavor {flavor.name} has no GPUs, so its processes talk by gloo, not by nccl. Leave backend out."
    if asked.nccl_settings:
        return f"Flavor {flavor.name} has no GPUs, so its processes talk by gloo. Leave ncclSettings out."
    return None


def _ready(conditions: list[Json]) -> Json | None:
    return next((condition for condition in conditions if condition["type"] == "Ready"), None)


def _volumes(server: DevServer, status: Json, decision: Decision) -> list[Json]:
    """status.volumes; a server without a report keeps what it has."""
    before, activity = list(status.get("volumes") or ()), decision.activity
    if activity is None or activity.answered_at is None:
        return before
    return volume_use(server, before, activity.volumes, activity.answered_at)


def _lifecycle_states(
    decision: Decision, name: str, before: Condition | None, now: datetime, *, ready: bool
) -> list[tuple[str, bool, str, str]]:
    """The conditions that are about when a running server stops; `before` is ActivityUnknown, as it is stored."""
    states = []
    limited = [limited_message(decision.limits)] if decision.limits.limited else []
    if decision.idle_timeout.limited and decision.idle_timeout.length is not None:
        length = format_duration(decision.idle_timeout.length)
        limited.append(f"It stops after {length} without activity: {decision.idle_timeout.limited} allows no more.")
    if decision.hold is not None and decision.hold.limited:
        limited.append(f"Its hold ends at {format_time(decision.hold.until)}: {decision.hold.limited} allows no more.")
    if limited:
        states.append(("TimeLimited", True, "TimeLimited", " ".join(limited)))
    activity = decision.activity
    if activity is not None and ready and not activity.agent:
        message = (
            f"An earlier version started it, so it has no agent and is never idle. `devctl restart {name}` brings one."
        )
        states.append(("AgentMissing", True, "AgentMissing", message))
    elif activity is not None and ready and not _is_recent(before, now):
        if activity.problem:
            states.append((UNKNOWN, True, UNKNOWN, f"It counts as active: {activity.problem}."))
    elif activity is not None and ready and before is not None:
        states.append((UNKNOWN, True, UNKNOWN, before.message))
    return states


def _is_recent(condition: Condition | None, now: datetime) -> bool:
    """Whether a condition began so lately that it stays: reports that change each time are no write each."""
    since = condition.last_transition_time if condition is not None else None
    return since is not None and timedelta(0) <= now - since < UNKNOWN_STAYS


def _soonest(*delays: timedelta | None) -> timedelta | None:
    return min((delay for delay in delays if delay is not None), default=None)
