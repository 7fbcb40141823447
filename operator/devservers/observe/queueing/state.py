"""One server's state in its queue, from its pods, Workloads and ClusterQueues.

A Workload belongs to a pod by its owner reference's uid. Kueue's messages are read only for what no field has: which
pool and resource are short. The operator never asks Kueue for a position in the queue (devctl does, for one server).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from devservers.api.conditions import Condition
from devservers_core.names import KUEUE, KUEUE_UNAVAILABLE, LABEL_NAME, LABEL_QUEUE
from devservers_core.types import Json

from .. import pods
from .eviction import EVICTED, PREEMPTED, Eviction, current_eviction, find_eviction
from .pending_reason import NeverFitsError, demand_of, pending_reason

QUEUED = "Queued"
EXCEEDS_QUOTA = "ExceedsQuota"
QUEUE_NOT_FOUND = "QueueNotFound"
QUEUE_STOPPED = "QueueStopped"
DEACTIVATED = "Deactivated"
ADMITTED = "Admitted"

WAITING = frozenset({QUEUED, PREEMPTED, EVICTED, EXCEEDS_QUOTA, QUEUE_NOT_FOUND, QUEUE_STOPPED, DEACTIVATED})
"""Reasons of a server that has no quota."""

SETTLE_TIME = timedelta(seconds=2)
"""A shorter wait isn't reported: most servers are admitted within a second."""
WORKLOAD_TIMEOUT = timedelta(seconds=10)
"""How long Kueue may take to create a pod's Workload before that is reported."""

_SCHEDULING_GATE = f"{KUEUE}/admission"


@dataclass(frozen=True, slots=True)
class QueueState:
    """One server's state in its queue."""

    reason: str
    message: str
    """For people; empty when admitted."""

    kueue_message: str
    """Kueue's own words, for the condition Admitted."""

    queued_at: datetime | None = None
    admitted_at: datetime | None = None
    """None while it has no quota."""

    blocks: bool = True
    """Whether its pod can't be scheduled for that reason."""

    settles_after: timedelta | None = None
    """How long until the state is reported; None when it is settled."""


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """The objects that one server's queue state depends on."""

    pods: tuple[Json, ...]
    """The server's, ending ones too."""

    workloads: tuple[Json, ...]
    """Those owned by these pods, or by the StatefulSet."""

    cluster_queues: Mapping[str, Json]
    all_workloads: Sequence[Json] = ()
    """Workloads of the whole cluster, read only to say who took a place."""

    served: bool = True
    """Whether the cluster has Kueue's kinds."""

    holder: Json | None = None
    """The StatefulSet of a distributed server, which has one Workload for all replicas; None of a standalone one."""

    replicas: int = 1
    home_kept: bool = False
    """Whether what is in the home outlives the pod."""


def queue_name(queued: Json | None) -> str:
    """The LocalQueue that a pod or a StatefulSet waits in, empty for one that is in none."""
    return str((((queued or {}).get("metadata") or {}).get("labels") or {}).get(LABEL_QUEUE) or "")


def workload_of(owner: Json | None, workloads: Iterable[Json]) -> Json | None:
    """The newest Workload that a pod or a StatefulSet owns."""
    uid = ((owner or {}).get("metadata") or {}).get("uid")
    owned = [workload for workload in workloads if uid and uid in owner_uids(workload)]
    return max(owned, key=lambda workload: str(workload["metadata"].get("creationTimestamp") or ""), default=None)


def owner_uids(workload: Json) -> set[str]:
    """The uids of a Workload's owners."""
    return {str(owner.get("uid")) for owner in workload["metadata"].get("ownerReferences") or ()}


def queue_state(
    pod: Json | None, snapshot: QueueSnapshot, previous: Iterable[Condition], now: datetime, advice: str = ""
) -> QueueState | None:
    """The state of the server whose current pod is `pod`; None when no queue concerns it.

    `previous` are the server's stored conditions: the reason of an eviction outlives the Workload that has it. `advice`
    says what fits instead of a flavor that never will.
    """
    workload = workload_of(snapshot.holder or pod, snapshot.workloads)
    eviction = current_eviction(previous, _eviction_of_server(workload, snapshot))
    if pod is None:
        return None if eviction is None else _evicted_state(eviction, snapshot)
    queue = queue_name(snapshot.holder or pod)
    if not queue:
        return None
    if not snapshot.served:
        return _state_without_kueue(pod)
    if workload is None:
        # The pod after an eviction exists a moment before its Workload does.
        return (
            _state_without_workload(pod, now)
            if eviction is None or _is_scheduled(pod)
            else _evicted_state(eviction, snapshot)
        )
    queued_at = pods.created_at(workload)
    admitted_at = pods.condition_true_since(workload, "Admitted")
    if admitted_at is not None and pods.condition_true_since(workload, "Evicted") is None:
        return QueueState(ADMITTED, "", _condition_message(workload, "Admitted"), queued_at, admitted_at, blocks=False)
    reason, message = _waiting_reason_and_message(pod, workload, queue, snapshot, advice)
    if eviction is not None and reason == QUEUED:
        home = "Its home is kept. " if snapshot.home_kept else ""
        reason, message = eviction.reason, f"{eviction.sentence} {home}{message}"
    settles_after = None
    if reason == QUEUED and queued_at is not None and queued_at + SETTLE_TIME > now:
        settles_after = min(queued_at + SETTLE_TIME - now, SETTLE_TIME)
    return QueueState(
        reason, message, _condition_message(workload, "QuotaReserved"), queued_at, settles_after=settles_after
    )


def _waiting_reason_and_message(
    pod: Json, workload: Json, queue: str, snapshot: QueueSnapshot, advice: str
) -> tuple[str, str]:
    """Why a Workload has no quota."""
    kueue_message = _condition_message(workload, "QuotaReserved")
    if (workload.get("spec") or {}).get("active") is False:
        return DEACTIVATED, (
            "Kueue removed it from its queue after too many attempts, or an administrator did. "
            f"`devctl restart {_server_name(pod)}` queues it again."
        )
    if kueue_message.startswith(("LocalQueue ", "ClusterQueue ")):
        if "doesn't exist" in kueue_message:
            return QUEUE_NOT_FOUND, (
                f"There is no queue {queue} for it ({kueue_message}). Choose another flavor (`devctl flavors`), "
                "or ask an administrator."
            )
        return QUEUE_STOPPED, (
            f"The queue {queue} is stopped. The server starts by itself when an administrator starts the queue again."
        )
    if pods.condition_true_since(workload, "QuotaReserved"):
        checks = [check["name"] for check in pods.status(workload).get("admissionChecks") or () if check.get("name")]
        checks_text = f" ({', '.join(checks)})" if checks else ""
        return QUEUED, f"Its quota is reserved; it waits until the cluster has room{checks_text}. It starts by itself."
    try:
        return QUEUED, pending_reason(demand_of(pod, queue, snapshot.replicas), snapshot.cluster_queues, kueue_message)
    except NeverFitsError as error:
        return EXCEEDS_QUOTA, f"{error} {advice or 'Choose a smaller flavor (`devctl flavors`).'}"


def _state_without_workload(pod: Json, now: datetime) -> QueueState | None:
    """The state of a pod without a Workload: held by Kueue's gate, or not Kueue's at all."""
    if not is_gated(pod):
        return None
    since = pods.created_at(pod)
    remaining = since + WORKLOAD_TIMEOUT - now if since else timedelta(0)
    message = (
        "Waits for Kueue, which grants the quota and hasn't processed it yet. It starts by itself when Kueue "
        "answers. If this lasts, tell an administrator."
    )
    settled = remaining <= timedelta(0)
    return QueueState(
        KUEUE_UNAVAILABLE, message, "Kueue has made no Workload.", settles_after=None if settled else remaining
    )


def _state_without_kueue(pod: Json) -> QueueState:
    message = (
        "The platform's quota is on, but the cluster has no Kueue to grant it. "
        + ("Its pod is held until Kueue is back" if is_gated(pod) else "It starts without waiting")
        + "; an administrator has to install Kueue."
    )
    return QueueState(KUEUE_UNAVAILABLE, message, message, blocks=is_gated(pod))


def is_gated(pod: Json) -> bool:
    """Whether Kueue holds a pod back from the scheduler."""
    return any(gate.get("name") == _SCHEDULING_GATE for gate in (pod.get("spec") or {}).get("schedulingGates") or ())


def _evicted_state(cause: Eviction, snapshot: QueueSnapshot) -> QueueState:
    """The state between an eviction and the Workload of the next pod."""
    home = "Its home is kept; it" if snapshot.home_kept else "It"
    return QueueState(
        cause.reason, f"{cause.sentence} {home} goes on by itself when quota comes free.", cause.kueue_message
    )


def _eviction_of_server(workload: Json | None, snapshot: QueueSnapshot) -> Eviction | None:
    """The eviction of the current Workload, or of that of a pod that is being deleted."""
    terminating = [pod for pod in snapshot.pods if (pod.get("metadata") or {}).get("deletionTimestamp")]
    workloads = [workload, *(workload_of(pod, snapshot.workloads) for pod in terminating)]
    return next(
        (
            cause
            for candidate in workloads
            if candidate and (cause := find_eviction(candidate, snapshot.all_workloads)) is not None
        ),
        None,
    )


def _condition_message(workload: Json, kind: str) -> str:
    return " ".join(str((pods.condition(workload, kind) or {}).get("message") or "").split())


def _is_scheduled(pod: Json) -> bool:
    return bool((pod.get("spec") or {}).get("nodeName"))


def _server_name(pod: Json) -> str:
    return str(((pod.get("metadata") or {}).get("labels") or {}).get(LABEL_NAME) or "NAME")
