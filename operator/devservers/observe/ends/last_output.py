"""What the pod of a server left at its end: its last lines of output and how often memory ran out.

Invariant: pure, and everything but names is untrusted text from the pod, bounded by its termination message.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from devservers_core.protocol.agent.termination import Termination, parse_termination
from devservers_core.types import Json

from .. import pods


def last_output(pod: Json | None) -> Termination:
    """What the last container of a pod that ended left; empty while it hasn't ended, or left nothing."""
    terminated = pods.last_termination(pods.container_status(pod)) if pod is not None else {}
    left = parse_termination(terminated.get("message"))
    if terminated.get("reason") == "OOMKilled" and not left.oom_kills:
        # The agent itself was killed, and its count is lost.
        return replace(left, oom_kills=1)
    return left


def has_ended(pod: Json) -> bool:
    """Whether the container of a pod has ended for good: it is not started again."""
    ended = (pods.container_status(pod).get("state") or {}).get("terminated")
    return bool(ended) and pods.is_terminating(pod)


def pod_named(all_pods: Iterable[Json], name: str | None) -> Json | None:
    """The pod of that name, None without one."""
    return next((pod for pod in all_pods if pods.pod_name(pod) == name), None) if name else None


def remains(pod: Json) -> Json | None:
    """What is worth keeping of a pod that is deleted: names and how its container ended; None for nothing."""
    status = pods.container_status(pod)
    ended = (status.get("state") or {}).get("terminated")
    if not ended:
        return None
    metadata = pod["metadata"]
    return {
        "metadata": {name: metadata[name] for name in ("name", "namespace", "uid", "labels") if name in metadata},
        "status": {"phase": "Failed", "containerStatuses": [{"name": status["name"], "state": {"terminated": ended}}]},
    }
