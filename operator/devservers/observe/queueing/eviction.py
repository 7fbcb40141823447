"""Why a server lost its quota, as a sentence that stays until it has quota again.

Kueue reports it on the Workload of the pod that was taken away, which is soon deleted with that pod; afterwards the
server's own conditions have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from devservers.api.conditions import Condition, find
from devservers_core.names import user_of
from devservers_core.types import Json

from .. import pods

PREEMPTED = "Preempted"
EVICTED = "Evicted"

_UID = re.compile(r"\(UID: ([^,)\s]+)")
_CAUSES = {
    "PodsReadyTimeout": "It wasn't ready in time, so Kueue took its quota back.",
    "NodeFailures": "Its node failed, so Kueue took its quota back.",
    "ClusterQueueStopped": "An administrator stopped its queue.",
    "LocalQueueStopped": "An administrator stopped its queue.",
    "AdmissionCheck": "The cluster could not make room for it.",
    "Deactivated": "Kueue removed it from its queue.",
}
"""By the reason of Kueue's condition Evicted (v0.18, apis/kueue/v1beta2/workload_types.go)."""


@dataclass(frozen=True, slots=True)
class Eviction:
    """A loss of quota."""

    reason: str
    """Preempted or Evicted."""

    sentence: str
    """One sentence."""

    kueue_message: str = ""
    """Kueue's own text."""


def find_eviction(workload: Json, workloads: Sequence[Json]) -> Eviction | None:
    """Why this Workload was evicted, None when it wasn't.

    `workloads` are those that may have preempted it.
    """
    condition = pods.condition(workload, "Evicted") or {}
    if condition.get("status") != "True":
        return None
    reason, kueue_message = str(condition.get("reason") or ""), " ".join(str(condition.get("message") or "").split())
    if reason != PREEMPTED:
        cause = next((sentence for name, sentence in _CAUSES.items() if reason.startswith(name)), None)
        return Eviction(EVICTED, cause or f"Kueue took its place away ({reason or 'no reason given'}).", kueue_message)
    uid = _UID.search(kueue_message)
    preemptor = next((other for other in workloads if uid and other["metadata"].get("uid") == uid[1]), None)
    borrowed = "reclamation" in kueue_message
    verb = "was only borrowed, and went back to" if borrowed else "was taken by"
    return Eviction(PREEMPTED, f"Its place {verb} {_describe(preemptor)}.", kueue_message)


def current_eviction(previous: Iterable[Condition], on_workload: Eviction | None) -> Eviction | None:
    """The eviction in the server's conditions, else the one found `on_workload` now.

    What is reported already comes first: the workload that preempted it may be gone by now.
    """
    conditions = tuple(previous)
    admitted, ready = find(conditions, "Admitted"), find(conditions, "Ready")
    if admitted is None or admitted.status != "False" or admitted.reason not in (PREEMPTED, EVICTED):
        return on_workload
    if ready is not None and ready.reason == admitted.reason:
        sentence = ready.message.partition(". ")[0].rstrip(".") + "."
        return Eviction(admitted.reason, sentence, admitted.message)
    # Ready still reported that the former pod runs.
    return on_workload or Eviction(admitted.reason, "It lost its place.", admitted.message)


def _describe(preemptor: Json | None) -> str:
    if preemptor is None:
        return "a workload with a better claim to it"
    user = user_of(str(preemptor["metadata"].get("namespace") or ""))
    priority = ((preemptor.get("spec") or {}).get("priorityClassRef") or {}).get("name")
    owner = f"a workload of {user}" if user else "a workload of the platform"
    return f"{owner} with priority {priority}" if priority else owner
