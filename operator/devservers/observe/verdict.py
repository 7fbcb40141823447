"""One verdict per look: the phase, and Ready with a reason of a closed set and words that say what to do.

What holds for a moment only (the scheduler's first refusal, a refused pod that is made a second later) is
not believed before it has lasted SETTLE, so that a start isn't told as a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from devservers.api.conditions import find
from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.user import DevServerUser
from devservers_core.names import STOPPED_BY_EXPIRATION, STOPPED_BY_SUSPENSION, STOPPED_BY_TTL
from devservers_core.types import Json

from . import pods
from .image import WAITING_REASONS, pull_failure
from .lifecycle import Decision
from .pending import Why, passes, why_not_mounted, why_refused, why_unschedulable
from .queue import QueueState
from .times import parse_time

SETTLE = timedelta(seconds=2)

_CRASHED = ("CrashLoopBackOff", "RunContainerError", "StartError", "PostStartHookError")
_REFUSED = (
    "CreateContainerConfigError",
    "CreateContainerError",
    "PreCreateHookError",
    "PreStartHookError",
)
_KILLED = 128


@dataclass(frozen=True, slots=True)
class Children:
    """What is there of a server, as read from the cluster; None or empty when it isn't there."""

    user: DevServerUser | None
    """The owner."""

    flavor: DevServerFlavor | None
    deployment: Json | None = None
    pods: tuple[Json, ...] = ()
    """Every pod with the server's labels, ending ones too."""

    home_claim: Json | None = None
    missing_claims: tuple[str, ...] = ()
    """Claims the spec names (volumes, sharedVolumeClaimName) that don't exist."""

    told: str | None = None
    """The newest Event that says why the start hangs, where one was looked for (see evidence.py)."""

    volumes: Mapping[str, str] = field(default_factory=dict)
    """The claims of the pod's volumes, by the PersistentVolume's name."""

    ending_claims: tuple[str, ...] = ()
    """Mounted claims that somebody deleted: Kubernetes keeps each until no pod uses it any more."""

    flavor_changed: bool = False
    """Whether it runs with an older shape of its flavor."""

    host_key_public: str | None = None
    home_error: str | None = None
    """The API server's refusal of the home's growth, None when there was none."""

    refusal: Why | None = None
    """Why the API server refuses one of its objects, None when it took them all."""

    queue: QueueState | None = None
    """How far it is with its queue, None when it waits in none."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a server is."""

    phase: str
    reason: str
    message: str
    wait: timedelta | None = None
    """How long until an unsettled cause is to be believed."""

    @property
    def ready(self) -> bool:
        """Whether the server can be used."""
        return self.phase == "Running"


def serving_pod(children: Children) -> Json | None:
    """The pod that is, or is becoming, the server as it is wanted now; None while the former one goes."""
    return None if pods.being_replaced(children.deployment) else pods.current_pod(children.pods)


def verdict(server: DevServer, children: Children, decision: Decision, now: datetime) -> Verdict:
    """The verdict on `server` at `now`."""
    pod = serving_pod(children)
    if server.metadata.deletion_timestamp is not None:
        return Verdict("Terminating", "Stopped", "It is being deleted. A persistent home is kept.")
    if children.user is None and not decision.running and decision.stop_reason is None:
        return Verdict("Stopping" if pods.any_left(children.pods) else "Pending", "OwnerNotFound", _no_owner(server))
    if not decision.running:
        phase = "Stopping" if pods.any_left(children.pods) else "Stopped"
        reason, message = _stopped(server, decision)
        return Verdict(phase, reason, message)
    if pod is not None and pods.true_since(pod, "Ready"):
        return Verdict("Running", "Running", _running_words(pod, children.refusal))
    if children.user is None:
        return Verdict("Pending", "OwnerNotFound", _no_owner(server))
    if children.refusal is not None:
        phase = "Failed" if children.refusal.reason == "InvalidSpec" else "Pending"
        return Verdict(phase, children.refusal.reason, children.refusal.message)
    if pod is None and children.flavor is None:
        flavor = server.spec.flavor
        return Verdict(
            "Pending",
            "FlavorNotFound",
            f"There is no flavor {flavor}. Choose one of `devctl flavors`, or wait until it is created.",
        )
    if children.missing_claims and not (pod and pods.true_since(pod, "PodScheduled")):
        claims = ", ".join(sorted(children.missing_claims))
        return Verdict(
            "Pending",
            "VolumeNotFound",
            f"There is no volume claim {claims}. Create it; it starts then.",
        )
    if children.user.status.uid is None and pod is None:
        return Verdict("Starting", "Starting", f"Waiting for the namespace of {children.user.name} to be set up.")
    return _without_pod(children, now) if pod is None else _starting(server, children, pod, now)


def _no_owner(server: DevServer) -> str:
    return f"There is no user {server.owner or 'nobody'}. An administrator has to create the DevServerUser."


def _stopped(server: DevServer, decision: Decision) -> tuple[str, str]:
    start = f"Start it with `devctl start {server.name}`."
    if decision.stop_reason == STOPPED_BY_TTL:
        return "Expired", f"Stopped after its time to live of {server.spec.lifecycle.time_to_live}. {start}"
    if decision.stop_reason == STOPPED_BY_EXPIRATION:
        return (
            "Expired",
            "Stopped at its expiration time. Set a later lifecycle.expirationTime to run it again.",
        )
    if decision.stop_reason == STOPPED_BY_SUSPENSION:
        return "OwnerSuspended", f"Stopped because {server.owner} is suspended. Ask an administrator."
    return "Stopped", f"Stopped by its owner. {start}"


def _running_words(pod: Json, refusal: Why | None) -> str:
    words = ["It is running."]
    ended = pods.last_end(pods.container(pod))
    if ended:
        words.append(f"It was started again at {ended.get('finishedAt')} after {_end_words(ended)}.")
        if ended.get("reason") == "OOMKilled":
            words.append("Use less memory or choose a larger flavor (`devctl flavors`).")
    if refusal is not None:
        words.append(f"It runs as it was before the last change. {refusal.message}")
    return " ".join(words)


def _without_pod(children: Children, now: datetime) -> Verdict:
    failure = pods.condition(children.deployment, "ReplicaFailure") if children.deployment else None
    if failure and failure.get("status") == "True":
        left = _unsettled(failure, now)
        if left is None:
            # The condition keeps the message of the first try; what is true now is in the newest Event.
            text = children.told or str(failure.get("message") or "")
            if passes(text):
                return Verdict("Starting", "Starting", "Waiting for Kubernetes to make the pod.")
            why = why_refused(text)
            return Verdict("Pending", why.reason, why.message)
        return Verdict("Starting", "Starting", "Waiting for Kubernetes to make the pod.", left)
    if children.queue is not None and children.queue.blocks:
        return _queued(children.queue)
    if pods.any_left(children.pods):
        return Verdict("Starting", "Starting", "Waiting for the former pod to end.")
    return Verdict("Starting", "Starting", "Waiting for Kubernetes to make the pod.")


def _starting(server: DevServer, children: Children, pod: Json, now: datetime) -> Verdict:
    scheduled = pods.condition(pod, "PodScheduled")
    if not scheduled or scheduled.get("status") != "True":
        return _unscheduled(server, children, scheduled, now)
    main, init = pods.container(pod), pods.init_container(pod)
    for status, image in ((init, pods.init_image(pod)), (main, pods.image(pod))):
        failed = _failed(server, pod, status, image)
        if failed is not None:
            return failed
    if pods.condition(pod, "Ready") and main.get("ready"):
        node = (pod.get("spec") or {}).get("nodeName")
        words = f"Its node {node} doesn't answer. It is moved or comes back by itself; tell an administrator."
        return Verdict("Starting", "Starting", words)
    if children.told is not None:
        return Verdict("Starting", "VolumeMountFailed", why_not_mounted(children.told, _claims(children, pod)))
    return Verdict("Starting", "Starting", _progress_words(server, pod, main, init))


def _claims(children: Children, pod: Json) -> dict[str, str]:
    """The pod's claims by every name that Kubernetes may call a volume: the pod's own and the PersistentVolume's."""
    found = dict(children.volumes)
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim:
            found[str(volume.get("name"))] = str(claim)
    return found


def _queued(queue: QueueState) -> Verdict:
    if queue.wait is not None:
        return Verdict("Starting", "Starting", "Waiting for its turn in the queue.", queue.wait)
    return Verdict("Pending", queue.reason, queue.message)


def _unscheduled(server: DevServer, children: Children, scheduled: Json | None, now: datetime) -> Verdict:
    if children.queue is not None and children.queue.blocks:
        return _queued(children.queue)
    if scheduled and scheduled.get("reason") == "Unschedulable":
        left = _unsettled(scheduled, now)
        if left is None:
            why = why_unschedulable(str(scheduled.get("message") or ""), server.spec.flavor, children.flavor)
            return Verdict("Pending", why.reason, why.message)
        return Verdict("Starting", "Starting", "Waiting for a node.", left)
    return Verdict("Starting", "Starting", "Waiting for a node.")


def _failed(server: DevServer, pod: Json, status: Json, image: str) -> Verdict | None:
    """The verdict when a container can't be started, None when nothing speaks against it yet."""
    waiting = pods.waiting(status)
    reason, text = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    shown = _shown(server, pod)
    if reason in WAITING_REASONS:
        previous = shown[1] if shown[0] == "ImagePullFailed" else None
        return Verdict("Starting", "ImagePullFailed", pull_failure(image, reason, text, previous))
    if reason in _REFUSED:
        cause = " ".join(text.split()).rstrip(".")[:300]
        return Verdict("Starting", "PodRefused", f"Its node can't start the container: {cause}. Ask an administrator.")
    # Between two ends a crashing container runs for a moment: the verdict stays until it is ready.
    again = shown[0] == "CrashLooping" and bool(status.get("restartCount")) and not status.get("ready")
    crashing = reason in _CRASHED or again
    if not crashing:
        return None
    ended = pods.last_end(status)
    if not ended:
        cause = " ".join(text.split()).rstrip(".")[:300] or "it can't be started"
        return Verdict("Failed", "CrashLooping", f"Its container fails at once: {cause}. Check its image and command.")
    more = (
        "Choose a larger flavor (`devctl flavors`)."
        if ended.get("reason") == "OOMKilled"
        else f"See `devctl logs {server.name}`."
    )
    return Verdict("Failed", "CrashLooping", f"Its container keeps ending, last after {_end_words(ended)}. {more}")


def _shown(server: DevServer, pod: Json) -> tuple[str, str]:
    """Ready's reason and message as they stand in the status, if they are about this pod."""
    ready = find(server.status.conditions, "Ready")
    if ready is None or server.status.pod_name != pods.pod_name(pod):
        return "", ""
    return ready.reason, ready.message


def _end_words(ended: Json) -> str:
    if ended.get("reason") == "OOMKilled":
        return "running out of memory"
    code = int(ended.get("exitCode") or 0)
    return f"signal {code - _KILLED}" if code > _KILLED else f"exit code {code}"


def _progress_words(server: DevServer, pod: Json, main: Json, init: Json) -> str:
    if (main.get("state") or {}).get("running"):
        return "The container runs; waiting for SSH to answer." if server.spec.enable_ssh else "The container runs."
    ended = pods.last_end(main)
    if ended:
        return f"The container ended after {_end_words(ended)} and is started again."
    if pods.true_since(pod, "Initialized") and init:
        return f"Fetching and starting the image {pods.image(pod)}."
    if pods.true_since(pod, "PodReadyToStartContainers"):
        return "Volumes are mounted; bringing in SSH."
    return "Mounting volumes on its node."


def _unsettled(condition: Json, now: datetime) -> timedelta | None:
    """How much longer a cause has to last before it is believed, None when it has lasted."""
    since = parse_time(condition.get("lastTransitionTime"))
    if since is None:
        return None
    left = since + SETTLE - now
    # A node's clock ahead of ours must not hide a cause for longer than SETTLE.
    return min(left, SETTLE) if left > timedelta(0) else None
