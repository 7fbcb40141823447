"""How far a server is with its queue, from its pods and Kueue's Workloads and ClusterQueues alone.

A Workload belongs to a pod by its owner reference's uid. Kueue's own text is read only for what no field says: which
pool and resource are short. What people read is ours, with the numbers in it; it never asks Kueue for a place in the
queue (devctl does that, for one server, when somebody looks).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from devservers.api.conditions import Condition
from devservers_core.names import KUEUE, KUEUE_UNAVAILABLE, LABEL_NAME, LABEL_QUEUE
from devservers_core.types import Json

from . import pods
from .eviction import EVICTED, PREEMPTED, Lost, eviction, remembered
from .shortage import NeverFits, demand_of, shortage

QUEUED = "Queued"
EXCEEDS_QUOTA = "ExceedsQuota"
QUEUE_NOT_FOUND = "QueueNotFound"
QUEUE_STOPPED = "QueueStopped"
DEACTIVATED = "Deactivated"
ADMITTED = "Admitted"

WAITING = frozenset({QUEUED, PREEMPTED, EVICTED, EXCEEDS_QUOTA, QUEUE_NOT_FOUND, QUEUE_STOPPED, DEACTIVATED})
"""Reasons of a server that has no quota."""

SETTLE = timedelta(seconds=2)
"""A wait shorter than this isn't told: most servers are admitted within a second."""
UNSEEN = timedelta(seconds=10)
"""How long Kueue may take to notice a pod before that is told."""

_GATE = f"{KUEUE}/admission"


@dataclass(frozen=True, slots=True)
class QueueState:
    """One server's state in its queue."""

    reason: str
    message: str
    """For people; empty when admitted."""

    told: str
    """Kueue's own words, for the condition Admitted."""

    queued_at: datetime | None = None
    admitted_at: datetime | None = None
    """None while it has no quota."""

    blocks: bool = True
    """Whether its pod can't be scheduled for that reason."""

    wait: timedelta | None = None
    """How long until the state is to be believed; None when it is settled."""


@dataclass(frozen=True, slots=True)
class Queues:
    """What there is to know of queueing when looking at one server."""

    pods: tuple[Json, ...]
    """The server's, ending ones too."""

    workloads: tuple[Json, ...]
    """Those owned by these pods."""

    cluster_queues: Mapping[str, Json]
    others: Sequence[Json] = ()
    """Workloads of the whole cluster, read only to say who took a place."""

    served: bool = True
    """Whether the cluster has Kueue's kinds."""

    home_kept: bool = False
    """Whether what is in the home outlives the pod."""


def queue_name(pod: Json | None) -> str:
    """The LocalQueue a pod waits in, empty for a pod that is in none."""
    return str((((pod or {}).get("metadata") or {}).get("labels") or {}).get(LABEL_QUEUE) or "")


def workload_of(pod: Json | None, workloads: Iterable[Json]) -> Json | None:
    """The newest Workload that pod owns."""
    uid = ((pod or {}).get("metadata") or {}).get("uid")
    owned = [each for each in workloads if uid and uid in owner_uids(each)]
    return max(owned, key=lambda each: str(each["metadata"].get("creationTimestamp") or ""), default=None)


def owner_uids(workload: Json) -> set[str]:
    """The uids of a Workload's owners."""
    return {str(each.get("uid")) for each in workload["metadata"].get("ownerReferences") or ()}


def queue_state(
    pod: Json | None, found: Queues, previous: Iterable[Condition], now: datetime, advice: str = ""
) -> QueueState | None:
    """The state of the server whose current pod is `pod`; None when no queue has a say in it.

    `previous` are the server's conditions as they stand: why its place was lost outlives the Workload that says so.
    `advice` says what would fit instead of what never will.
    """
    workload = workload_of(pod, found.workloads)
    before = remembered(previous, _lost_cause(workload, found))
    if pod is None:
        return None if before is None else _told_loss(before, found)
    queue = queue_name(pod)
    if not queue:
        return None
    if not found.served:
        return _without_kueue(pod)
    if workload is None:
        # The pod after a lost place is there a moment before its Workload is.
        return _unseen(pod, now) if before is None or _scheduled(pod) else _told_loss(before, found)
    queued_at = pods.created_at(workload)
    admitted_at = pods.true_since(workload, "Admitted")
    if admitted_at is not None and pods.true_since(workload, "Evicted") is None:
        return QueueState(ADMITTED, "", _told(workload, "Admitted"), queued_at, admitted_at, blocks=False)
    reason, message = _waiting(pod, workload, queue, found, advice)
    if before is not None and reason == QUEUED:
        home = "Its home is kept. " if found.home_kept else ""
        reason, message = before.reason, f"{before.words} {home}{message}"
    wait = None
    if reason == QUEUED and queued_at is not None and queued_at + SETTLE > now:
        wait = min(queued_at + SETTLE - now, SETTLE)
    return QueueState(reason, message, _told(workload, "QuotaReserved"), queued_at, wait=wait)


def _waiting(pod: Json, workload: Json, queue: str, found: Queues, advice: str) -> tuple[str, str]:
    """Why a Workload has no quota: a reason, and words."""
    told = _told(workload, "QuotaReserved")
    if (workload.get("spec") or {}).get("active") is False:
        return DEACTIVATED, (
            "Kueue has taken it out of its queue after too many attempts, or an administrator did. "
            f"`devctl restart {_server(pod)}` queues it anew."
        )
    if told.startswith(("LocalQueue ", "ClusterQueue ")):
        if "doesn't exist" in told:
            return QUEUE_NOT_FOUND, (
                f"There is no queue {queue} for it ({told}). Choose another flavor (`devctl flavors`), "
                "or ask an administrator."
            )
        return QUEUE_STOPPED, (
            f"The queue {queue} is stopped: nothing starts for now. It starts by itself when an administrator opens "
            "the queue again."
        )
    if pods.true_since(workload, "QuotaReserved"):
        checks = [each["name"] for each in pods.status(workload).get("admissionChecks") or () if each.get("name")]
        what = f" ({', '.join(checks)})" if checks else ""
        return QUEUED, f"Its quota is set aside; waits for the cluster to make room{what}. It starts by itself."
    try:
        return QUEUED, shortage(demand_of(pod, queue), found.cluster_queues, told)
    except NeverFits as never:
        return EXCEEDS_QUOTA, f"{never} {advice or 'Choose a smaller flavor (`devctl flavors`).'}"


def _unseen(pod: Json, now: datetime) -> QueueState | None:
    """The state of a pod that has no Workload: held by Kueue's gate, or not Kueue's at all."""
    if not gated(pod):
        return None
    since = pods.created_at(pod)
    left = since + UNSEEN - now if since else timedelta(0)
    message = (
        "Waits for Kueue, which hands out the quota and hasn't looked at it yet. It starts by itself when Kueue "
        "answers; if that lasts, tell an administrator."
    )
    settled = left <= timedelta(0)
    return QueueState(KUEUE_UNAVAILABLE, message, "Kueue has made no Workload.", wait=None if settled else left)


def _without_kueue(pod: Json) -> QueueState:
    message = (
        "The platform's quota is on, and the cluster has no Kueue to hand it out. "
        + ("Its pod is held until Kueue is back" if gated(pod) else "It starts without waiting")
        + "; an administrator has to install Kueue."
    )
    return QueueState(KUEUE_UNAVAILABLE, message, message, blocks=gated(pod))


def gated(pod: Json) -> bool:
    """Whether Kueue holds a pod back from the scheduler."""
    return any(gate.get("name") == _GATE for gate in (pod.get("spec") or {}).get("schedulingGates") or ())


def _told_loss(cause: Lost, found: Queues) -> QueueState:
    """The state between an eviction and the Workload of the pod that comes after it."""
    home = "Its home is kept; it" if found.home_kept else "It"
    return QueueState(cause.reason, f"{cause.words} {home} goes on by itself when quota comes free.", cause.told)


def _lost_cause(workload: Json | None, found: Queues) -> Lost | None:
    """Why the present Workload, or that of a pod that is ending, lost its place."""
    ending = [pod for pod in found.pods if (pod.get("metadata") or {}).get("deletionTimestamp")]
    workloads = [workload, *(workload_of(pod, found.workloads) for pod in ending)]
    return next((cause for each in workloads if each and (cause := eviction(each, found.others)) is not None), None)


def _told(workload: Json, kind: str) -> str:
    return " ".join(str((pods.condition(workload, kind) or {}).get("message") or "").split())


def _scheduled(pod: Json) -> bool:
    return bool((pod.get("spec") or {}).get("nodeName"))


def _server(pod: Json) -> str:
    return str(((pod.get("metadata") or {}).get("labels") or {}).get(LABEL_NAME) or "NAME")
