"""How a server ended last: stopped by a decision, interrupted, or out of memory.

Invariant: every end has one of STOP_REASONS. What Kubernetes doesn't say is counted as the cause that ends most pods
without a trace: a node that is gone.
"""

from __future__ import annotations

from datetime import datetime

from devservers.api.devserver import DevServer
from devservers_core.names import (
    STOPPED_BY_DRAIN,
    STOPPED_BY_FULL_DISK,
    STOPPED_BY_NODE_LOSS,
    STOPPED_BY_OUT_OF_MEMORY,
    STOPPED_BY_PREEMPTION,
)
from devservers_core.types import Json

from .. import pods
from ..children import Children, serving_pod
from ..lifetime.lifecycle import Decision
from ..lifetime.starts import start_annotations
from ..times import format_time, parse_time
from .ended import End
from .interruption import INTERRUPTED, cause_of_loss, lost_pod
from .last_output import last_output, pod_named

_BY_INTERRUPTION = {
    "Evicted": STOPPED_BY_DRAIN,
    "Disrupted": STOPPED_BY_DRAIN,
    "PodDeleted": STOPPED_BY_DRAIN,
    "NodeLost": STOPPED_BY_NODE_LOSS,
    "PodLost": STOPPED_BY_NODE_LOSS,
    "Preempted": STOPPED_BY_PREEMPTION,
    "LostItsPlace": STOPPED_BY_PREEMPTION,
}
"""By the reason of the condition Interrupted, but for EndedByNode."""
_BY_NODE = (
    ("ephemeral", STOPPED_BY_FULL_DISK),
    ("disk", STOPPED_BY_FULL_DISK),
    ("inodes", STOPPED_BY_FULL_DISK),
    ("memory", STOPPED_BY_OUT_OF_MEMORY),
    ("shutdown", STOPPED_BY_DRAIN),
)
"""What a kubelet writes about a pod that it ends (pkg/kubelet/eviction, pkg/kubelet/nodeshutdown)."""
_MAX_MESSAGE = 1024


def last_stop(
    server: DevServer, children: Children, decision: Decision, end: End | None, message: str, now: datetime
) -> Json | None:
    """status.lastStop at `now`; `message` is the phase's, `end` that of unasked_end."""
    stop_reason = decision.stop_reason
    status = server.status
    previous: Json | None = status.last_stop.to_dict() if status.last_stop else None
    if stop_reason is not None:
        ended_now = status.stop_reason is None and (status.phase is not None or pods.any_active(children.pods))
        kills = decision.activity.oom_kills if decision.activity is not None else None
        stop = _stop(now, stop_reason, message, kills) | {"starts": start_annotations(server)}
        return stop if ended_now else previous
    return previous if end is None else _stop(end.at, end.reason, end.message, end.oom_kills)


def unasked_end(
    server: DevServer, children: Children, conditions: list[Json], decision: Decision, now: datetime
) -> End | None:
    """An end that is not in the status yet and that no decision of the operator made; None without one."""
    if decision.stop_reason is not None:
        return None
    status = server.status
    interrupted = next((c for c in conditions if c["type"] == INTERRUPTED), None)
    if interrupted is not None and interrupted not in [c.to_dict() for c in status.conditions]:
        message = interrupted["message"]
        lost = lost_pod(server, children.workload, children.pods)
        pod = pod_named((*children.pods, *children.former_pods), lost)
        return _end(now, interruption_reason(interrupted["reason"], message), message, pod, lost)
    pod = serving_pod(children)
    terminated = pods.last_termination(pods.container_status(pod)) if pod else {}
    finished = parse_time(terminated.get("finishedAt"))
    if terminated.get("reason") == "OOMKilled" and finished is not None:
        before = status.last_stop.at if status.last_stop else None
        if before is None or finished > before:
            message = "Its container ran out of memory and was started again."
            return _end(finished, STOPPED_BY_OUT_OF_MEMORY, message, pod, pods.pod_name(pod))
    return None


def reason_of_ending_pod(server: DevServer, workload: Json | None, pod: Json) -> str | None:
    """Why the server's pod is ending, one of STOP_REASONS; None where the owner or the operator asked for it."""
    cause = cause_of_loss(server, workload, (pod,))
    return interruption_reason(*cause) if cause is not None else None


def interruption_reason(reason: str, message: str) -> str:
    """The reason of a stop behind a condition Interrupted."""
    if reason == "EndedByNode":
        text = message.lower()
        return next((stop for word, stop in _BY_NODE if word in text), STOPPED_BY_NODE_LOSS)
    return _BY_INTERRUPTION.get(reason, STOPPED_BY_NODE_LOSS)


def _end(at: datetime, reason: str, message: str, pod: Json | None, pod_name: str | None) -> End:
    left = last_output(pod)
    return End(at, reason, message, lines=left.lines, oom_kills=left.oom_kills, pod=pod_name or "")


def _stop(at: datetime, reason: str, message: str, oom_kills: int | None = None) -> Json:
    stop = {"at": format_time(at), "reason": reason, "message": message[:_MAX_MESSAGE]}
    return stop if oom_kills is None else stop | {"oomKills": oom_kills}
