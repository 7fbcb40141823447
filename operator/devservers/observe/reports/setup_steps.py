"""What the steps of a user's set-up came to, from an agent's reports, for status.setup.

Invariant: a report is untrusted and adds steps only, so that no pod makes more than MAX_STEPS writes at a start.
"""

from __future__ import annotations

from collections.abc import Sequence

from devservers_core.protocol.agent.report import SetupStep
from devservers_core.types import Json

from .. import pods
from ..lifetime.idle import Activity
from ..times import parse_time

MAX_STEPS = 8


def setup_steps(previous: Sequence[Json], reported: Sequence[SetupStep]) -> list[Json]:
    """The entries of status.setup: those so far, and the steps that have ended since."""
    entries = {str(entry["step"]): entry for entry in previous}
    for step in reported:
        if step.step and len(entries) < MAX_STEPS:
            entry = {"step": step.step, "exitCode": step.exit_code, "seconds": step.seconds}
            entries.setdefault(step.step, entry)
    return list(entries.values())


def observed_setup(status: Json, ready: Json | None, pod: Json | None, activity: Activity | None) -> list[Json]:
    """The entries of status.setup for a pod, [] without one.

    `status` is the server's so far, `ready` its condition Ready of now. The set-up runs anew in each container, and a
    server isn't ready between two: neither an entry nor a report from before counts.
    """
    if pod is None or ready is None or ready["status"] != "True":
        return []
    same_pod = status.get("podName") == pods.pod_name(pod)
    return setup_steps((status.get("setup") or ()) if same_pod else (), _reported(activity, ready))


def _reported(activity: Activity | None, ready: Json) -> Sequence[SetupStep]:
    """The steps of the last report, () where it is older than the condition."""
    since = parse_time(ready["lastTransitionTime"])
    if activity is None or activity.answered_at is None or (since is not None and activity.answered_at < since):
        return ()
    return activity.setup
