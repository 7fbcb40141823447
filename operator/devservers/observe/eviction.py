"""Why a server lost its place, in one sentence that goes on being told until it has a place again.

Kueue says it on the Workload of the pod that was taken away, which soon goes with that pod; after that the server's
own conditions are where it is remembered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from devservers.api.conditions import Condition, find
from devservers_core.names import user_of
from devservers_core.types import Json

from . import pods

PREEMPTED = "Preempted"
EVICTED = "Evicted"

_UID = re.compile(r"\(UID: ([^,)\s]+)")
_CAUSES = {
    "PodsReadyTimeout": "It wasn't ready in time, so its place was given up.",
    "NodeFailures": "Its node failed, so its place was given up.",
    "ClusterQueueStopped": "Its queue was stopped by an administrator.",
    "LocalQueueStopped": "Its queue was stopped by an administrator.",
    "AdmissionCheck": "The cluster could not make room for it.",
    "Deactivated": "Kueue has taken it out of its queue.",
}
"""By the reason of Kueue's condition Evicted (v0.18, apis/kueue/v1beta2/workload_types.go)."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A place that was lost."""

    reason: str
    """Preempted or Evicted."""

    words: str
    """One sentence."""

    told: str = ""
    """Kueue's own text."""


def eviction(workload: Json, others: Sequence[Json]) -> Lost | None:
    """Why this Workload lost its place, None when it didn't. `others` are the Workloads that may have taken it."""
    condition = pods.condition(workload, "Evicted") or {}
    if condition.get("status") != "True":
        return None
    reason, told = str(condition.get("reason") or ""), " ".join(str(condition.get("message") or "").split())
    if reason != PREEMPTED:
        cause = next((words for name, words in _CAUSES.items() if reason.startswith(name)), None)
        return Lost(EVICTED, cause or f"Kueue took its place away ({reason or 'no reason given'}).", told)
    uid = _UID.search(told)
    taker = next((each for each in others if uid and each["metadata"].get("uid") == uid[1]), None)
    borrowed = "reclamation" in told
    verb = "was only borrowed, and went back to" if borrowed else "was taken by"
    return Lost(PREEMPTED, f"Its place {verb} {_who(taker)}.", told)


def remembered(previous: Iterable[Condition], found: Lost | None) -> Lost | None:
    """The loss to tell of: the one the server's conditions tell, else the one that is `found` on a Workload now.

    What is told already comes first: who took the place may be gone by now, and still it was them.
    """
    known = tuple(previous)
    admitted, ready = find(known, "Admitted"), find(known, "Ready")
    if admitted is None or admitted.status != "False" or admitted.reason not in (PREEMPTED, EVICTED):
        return found
    if ready is not None and ready.reason == admitted.reason:
        words = ready.message.partition(". ")[0].rstrip(".") + "."
        return Lost(admitted.reason, words, admitted.message)
    # Ready still said that the former pod runs.
    return found or Lost(admitted.reason, "It lost its place.", admitted.message)


def _who(taker: Json | None) -> str:
    if taker is None:
        return "a workload with a better claim to it"
    user = user_of(str(taker["metadata"].get("namespace") or ""))
    priority = ((taker.get("spec") or {}).get("priorityClassRef") or {}).get("name")
    owner = f"a workload of {user}" if user else "a workload of the platform"
    return f"{owner} with priority {priority}" if priority else owner
