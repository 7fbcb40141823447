"""The delay of status writes: steps of a start are written together.

A step is written with the next change that matters, or by itself once it is MAX_DELAY old. A quick start passes its
stages in a second or two: a write for each would double the writes of a server's life, and nobody would see more.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from devservers_core.types import Json

from .times import parse_time

MAX_DELAY = timedelta(seconds=3)


def status_write_delay(previous: Json, candidate: Json, now: datetime, pod_since: datetime | None) -> timedelta | None:
    """How long the step from `previous` to `candidate` can wait; None: write now, or no step.

    Only the timeline, the pod's name, the admission and the message of a start in progress can wait. `pod_since` is
    when the pod was created.
    """
    if candidate == previous or _without_steps(previous) != _without_steps(candidate):
        return None
    recorded = {entry["stage"]: entry["at"] for entry in previous.get("timeline", ())}
    new_times = [
        at
        for entry in candidate.get("timeline", ())
        if recorded.get(entry["stage"]) != entry["at"] and (at := parse_time(entry["at"])) is not None
    ]
    if previous.get("podName") != candidate.get("podName") and pod_since is not None:
        new_times.append(pod_since)
    if not new_times:
        return None
    remaining = min(new_times) + MAX_DELAY - now
    return min(remaining, MAX_DELAY) if remaining > timedelta(0) else None


def _without_steps(status: Json) -> Json:
    kept = {key: value for key, value in status.items() if key not in ("timeline", "podName")}
    kept["conditions"] = [
        {key: value for key, value in condition.items() if key != "message"}
        if condition.get("reason") == "Starting"
        else condition
        for condition in status.get("conditions", ())
        # An admission is a step like the others; an eviction is not.
        if (condition.get("type"), condition.get("status")) != ("Admitted", "True")
    ]
    return kept
