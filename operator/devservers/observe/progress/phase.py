"""The phase of a server, with the reason and the message of its condition Ready.

A cause that may hold for a moment only (the scheduler's first refusal, a rejected pod that is created a second later)
is reported once it has lasted SETTLE_TIME, so that a start isn't reported as a failure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from devservers.api.conditions import find
from devservers.api.devserver import DevServer
from devservers_core.names import (
    STOPPED_BY_END_OF_HOLD,
    STOPPED_BY_EXPIRATION,
    STOPPED_BY_IDLENESS,
    STOPPED_BY_SUSPENSION,
    STOPPED_BY_WORKING_HOURS,
)
from devservers_core.types import Json

from .. import pods
from ..causes import Cause, is_transient, missing_secret, mount_failure_message, rejection_cause, unschedulable_cause
from ..children import Children, is_pod_of_status, serving_pod
from ..lifetime.lifecycle import Decision
from ..queueing.state import QueueState
from ..times import parse_time
from .image import WAITING_REASONS, pull_failure_message

SETTLE_TIME = timedelta(seconds=2)

_CRASH_REASONS = ("CrashLoopBackOff", "RunContainerError", "StartError", "PostStartHookError")
_NODE_REFUSAL_REASONS = (
    "CreateContainerConfigError",
    "CreateContainerError",
    "PreCreateHookError",
    "PreStartHookError",
)
_QUIET = {
    STOPPED_BY_IDLENESS: "Idle",
    STOPPED_BY_END_OF_HOLD: "HoldEnded",
    STOPPED_BY_WORKING_HOURS: "WorkingHours",
}
"""By the reason of a stop: Ready's reason."""
_LASTING = _QUIET | {STOPPED_BY_EXPIRATION: "Expired"}
"""The same for all stops that only a start undoes."""
_SIGNAL_EXIT_CODE_BASE = 128


@dataclass(frozen=True, slots=True)
class ServerPhase:
    """A phase, and Ready's reason and message."""

    name: str
    reason: str
    message: str
    settles_after: timedelta | None = None
    """How long until an unsettled cause is reported."""

    @property
    def ready(self) -> bool:
        """Whether the server can be used."""
        return self.name == "Running"


def server_phase(server: DevServer, children: Children, decision: Decision, now: datetime) -> ServerPhase:
    """The phase of `server` at `now`."""
    pod = serving_pod(children)
    if server.metadata.deletion_timestamp is not None:
        return ServerPhase("Terminating", "Stopped", "It is being deleted. A persistent home is kept.")
    if children.user is None and not decision.running and decision.stop_reason is None:
        return ServerPhase(
            "Stopping" if pods.any_active(children.pods) else "Pending",
            "OwnerNotFound",
            _owner_not_found_message(server),
        )
    if not decision.running:
        phase = "Stopping" if pods.any_active(children.pods) else "Stopped"
        reason, message = _stop_reason_and_message(server, decision)
        return ServerPhase(phase, reason, message)
    if pod is not None and pods.condition_true_since(pod, "Ready"):
        return ServerPhase("Running", "Running", _running_message(pod, children.refusal))
    if children.user is None:
        return ServerPhase("Pending", "OwnerNotFound", _owner_not_found_message(server))
    if children.refusal is not None:
        phase = "Failed" if children.refusal.reason == "InvalidSpec" else "Pending"
        return ServerPhase(phase, children.refusal.reason, children.refusal.message)
    if pod is None and children.flavor is None:
        flavor = server.spec.flavor
        return ServerPhase(
            "Pending",
            "FlavorNotFound",
            f"There is no flavor {flavor}. Choose one of `devctl flavors`, or wait until it is created.",
        )
    if children.missing_claims and not (pod and pods.condition_true_since(pod, "PodScheduled")):
        claims = ", ".join(sorted(children.missing_claims))
        return ServerPhase(
            "Pending",
            "VolumeNotFound",
            f"There is no volume claim {claims}. Create it; it starts then.",
        )
    if children.user.status.uid is None and pod is None:
        return ServerPhase("Starting", "Starting", f"Waiting for the namespace of {children.user.name} to be set up.")
    return _phase_without_pod(children, now) if pod is None else _phase_of_starting_pod(server, children, pod, now)


def _owner_not_found_message(server: DevServer) -> str:
    return f"There is no user {server.owner or 'nobody'}. An administrator has to create the DevServerUser."


def _stop_reason_and_message(server: DevServer, decision: Decision) -> tuple[str, str]:
    start = f"Start it with `devctl start {server.name}`."
    last = server.status.last_stop
    if decision.next_stop is None and last is not None and last.reason == decision.stop_reason in _LASTING:
        return _LASTING[last.reason], last.message
    if decision.stop_reason == STOPPED_BY_EXPIRATION:
        if decision.limits.cause == "expirationTime":
            return (
                "Expired",
                "Stopped at its expiration time (lifecycle.expirationTime). Set a later end and start it: "
                f"`devctl update {server.name} --time 8h`, then `devctl start {server.name}`.",
            )
        if decision.limits.cause == "extendUntil":
            return "Expired", f"Stopped at the end of its extension. {start}"
        return "Expired", f"Stopped after {decision.limits.cause_text}. {start}"
    if decision.stop_reason in _QUIET:
        cause = decision.next_stop.cause if decision.next_stop is not None else "a time without activity"
        return _QUIET[decision.stop_reason], f"Stopped after {cause}. {start}"
    if decision.stop_reason == STOPPED_BY_SUSPENSION:
        return "OwnerSuspended", f"Stopped because {server.owner} is suspended. Ask an administrator."
    return "Stopped", f"Stopped by its owner. {start}"


def _running_message(pod: Json, refusal: Cause | None) -> str:
    sentences = ["It is running."]
    terminated = pods.last_termination(pods.container_status(pod))
    if terminated:
        sentences.append(
            f"It was started again at {terminated.get('finishedAt')} after {_termination_text(terminated)}."
        )
        if terminated.get("reason") == "OOMKilled":
            sentences.append("Use less memory or choose a larger flavor (`devctl flavors`).")
    if refusal is not None:
        sentences.append(f"It runs without the last change. {refusal.message}")
    return " ".join(sentences)


def _phase_without_pod(children: Children, now: datetime) -> ServerPhase:
    failure = pods.condition(children.workload, "ReplicaFailure") if children.workload else None
    if failure and failure.get("status") == "True":
        remaining = _time_to_settle(failure, now)
        if remaining is None:
            # The condition keeps the message of the first try; the newest Event has the current one.
            text = children.event_message or str(failure.get("message") or "")
            if is_transient(text):
                return ServerPhase("Starting", "Starting", "Waiting for Kubernetes to make the pod.")
            cause = rejection_cause(text)
            return ServerPhase("Pending", cause.reason, cause.message)
        return ServerPhase("Starting", "Starting", "Waiting for Kubernetes to make the pod.", remaining)
    if children.queue is not None and children.queue.blocks:
        return _phase_in_queue(children.queue)
    refusal = children.event_message if children.replicas is not None else None
    if refusal is not None and not is_transient(refusal):
        cause = rejection_cause(refusal)
        return ServerPhase("Pending", cause.reason, cause.message)
    if children.replicas is not None and pods.replica_pods(children.pods):
        return ServerPhase("Starting", "Starting", "Waiting for the replica that is missing.")
    if pods.any_active(children.pods):
        return ServerPhase("Starting", "Starting", "Waiting for the former pod to end.")
    return ServerPhase("Starting", "Starting", "Waiting for Kubernetes to make the pod.")


def _phase_of_starting_pod(server: DevServer, children: Children, pod: Json, now: datetime) -> ServerPhase:
    scheduled = pods.condition(pod, "PodScheduled")
    if not scheduled or scheduled.get("status") != "True":
        return _phase_of_unscheduled_pod(server, children, scheduled, now)
    main, init = pods.container_status(pod), pods.init_container_status(pod)
    for status, image in ((init, pods.init_container_image(pod)), (main, pods.container_image(pod))):
        failure = _phase_of_failed_container(server, pod, status, image)
        if failure is not None:
            return failure
    if pods.condition(pod, "Ready") and main.get("ready"):
        node = (pod.get("spec") or {}).get("nodeName")
        message = f"Its node {node} doesn't answer. It is moved or comes back by itself; tell an administrator."
        return ServerPhase("Starting", "Starting", message)
    if children.event_message is not None:
        if secret := missing_secret(children.event_message, _own_secrets(server)):
            return ServerPhase("Starting", "SecretNotFound", secret)
        message = mount_failure_message(children.event_message, _claims_by_volume(children, pod))
        return ServerPhase("Starting", "VolumeMountFailed", message)
    return ServerPhase("Starting", "Starting", _progress_message(server, pod, main, init))


def _own_secrets(server: DevServer) -> set[str]:
    """The secrets that the server's own spec refers to."""
    return {secret.name for secret in server.spec.secrets}


def _claims_by_volume(children: Children, pod: Json) -> dict[str, str]:
    """The pod's claims by every name Kubernetes may use: the pod's own and the PersistentVolume's."""
    claims = dict(children.volumes)
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim:
            claims[str(volume.get("name"))] = str(claim)
    return claims


def _phase_in_queue(queue: QueueState) -> ServerPhase:
    if queue.settles_after is not None:
        return ServerPhase("Starting", "Starting", "Waiting for its turn in the queue.", queue.settles_after)
    return ServerPhase("Pending", queue.reason, queue.message)


def _phase_of_unscheduled_pod(
    server: DevServer, children: Children, scheduled: Json | None, now: datetime
) -> ServerPhase:
    if children.queue is not None and children.queue.blocks:
        return _phase_in_queue(children.queue)
    if scheduled and scheduled.get("reason") == "Unschedulable":
        remaining = _time_to_settle(scheduled, now)
        if remaining is None:
            cause = unschedulable_cause(str(scheduled.get("message") or ""), server.spec.flavor, children.flavor)
            return ServerPhase("Pending", cause.reason, cause.message)
        return ServerPhase("Starting", "Starting", "Waiting for a node.", remaining)
    return ServerPhase("Starting", "Starting", "Waiting for a node.")


def _phase_of_failed_container(server: DevServer, pod: Json, status: Json, image: str) -> ServerPhase | None:
    """The phase when a container can't be started, None when nothing shows a failure."""
    waiting = pods.waiting_state(status)
    reason, text = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    previous_ready = _ready_of_pod(server, pod)
    if reason in WAITING_REASONS:
        previous = previous_ready[1] if previous_ready[0] == "ImagePullFailed" else None
        return ServerPhase("Starting", "ImagePullFailed", pull_failure_message(image, reason, text, previous))
    if reason in _NODE_REFUSAL_REASONS and (secret := missing_secret(text, _own_secrets(server))):
        return ServerPhase("Starting", "SecretNotFound", secret)
    if reason in _NODE_REFUSAL_REASONS:
        cause = " ".join(text.split()).rstrip(".")[:300]
        return ServerPhase(
            "Starting", "PodRefused", f"Its node can't start the container: {cause}. Ask an administrator."
        )
    # A crashing container runs for a moment between two crashes: the phase stays until it is ready.
    between_crashes = (
        previous_ready[0] == "CrashLooping" and bool(status.get("restartCount")) and not status.get("ready")
    )
    crashing = reason in _CRASH_REASONS or between_crashes
    if not crashing:
        return None
    terminated = pods.last_termination(status)
    if not terminated:
        cause = " ".join(text.split()).rstrip(".")[:300] or "it can't be started"
        return ServerPhase(
            "Failed", "CrashLooping", f"Its container fails at once: {cause}. Check its image and command."
        )
    advice = (
        "Choose a larger flavor (`devctl flavors`)."
        if terminated.get("reason") == "OOMKilled"
        else f"See `devctl logs {server.name}`."
    )
    return ServerPhase(
        "Failed", "CrashLooping", f"Its container keeps ending, last after {_termination_text(terminated)}. {advice}"
    )


def _ready_of_pod(server: DevServer, pod: Json) -> tuple[str, str]:
    """Reason and message of the stored condition Ready, if they are about this pod."""
    ready = find(server.status.conditions, "Ready")
    if ready is None or not is_pod_of_status(server, pod):
        return "", ""
    return ready.reason, ready.message


def _termination_text(terminated: Json) -> str:
    if terminated.get("reason") == "OOMKilled":
        return "running out of memory"
    code = int(terminated.get("exitCode") or 0)
    return f"signal {code - _SIGNAL_EXIT_CODE_BASE}" if code > _SIGNAL_EXIT_CODE_BASE else f"exit code {code}"


def _progress_message(server: DevServer, pod: Json, main: Json, init: Json) -> str:
    if (main.get("state") or {}).get("running"):
        return "The container runs; waiting for SSH to answer." if server.spec.enable_ssh else "The container runs."
    terminated = pods.last_termination(main)
    if terminated:
        return f"The container ended after {_termination_text(terminated)} and is started again."
    if pods.condition_true_since(pod, "Initialized") and init:
        return f"Fetching and starting the image {pods.container_image(pod)}."
    if pods.condition_true_since(pod, "PodReadyToStartContainers"):
        return "Volumes are mounted; bringing in SSH."
    return "Mounting volumes on its node."


def _time_to_settle(condition: Json, now: datetime) -> timedelta | None:
    """How much longer a cause has to last before it is reported, None when it has."""
    since = parse_time(condition.get("lastTransitionTime"))
    if since is None:
        return None
    remaining = since + SETTLE_TIME - now
    # A node's clock ahead of ours must not hide a cause for longer than SETTLE_TIME.
    return min(remaining, SETTLE_TIME) if remaining > timedelta(0) else None
