"""A step of a start is written with the next thing that matters, or by itself once it is HOLD old, never
sooner.

A quick start passes its stages in a second or two: writing each would double the writes of a server's
life, and the person watching would see no more.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from devservers_core.types import Json

from .times import parse_time

HOLD = timedelta(seconds=3)


def hold_back(previous: Json, candidate: Json, now: datetime, pod_since: datetime | None) -> timedelta | None:
    """How long the step from `previous` to `candidate` can wait; None when it is to be written now or is
    none.

    Only the timeline, the pod's name, the place in the queue and the words of a start under way can wait.
    `pod_since` is when the pod was made.
    """
    if candidate == previous or _lasting(previous) != _lasting(candidate):
        return None
    known = {entry["stage"]: entry["at"] for entry in previous.get("timeline", ())}
    fresh = [
        at
        for entry in candidate.get("timeline", ())
        if known.get(entry["stage"]) != entry["at"] and (at := parse_time(entry["at"])) is not None
    ]
    if previous.get("podName") != candidate.get("podName") and pod_since is not None:
        fresh.append(pod_since)
    if not fresh:
        return None
    left = min(fresh) + HOLD - now
    return min(left, HOLD) if left > timedelta(0) else None


def _lasting(status: Json) -> Json:
    rest = {key: value for key, value in status.items() if key not in ("timeline", "podName")}
    rest["conditions"] = [
        {key: value for key, value in condition.items() if key != "message"}
        if condition.get("reason") == "Starting"
        else condition
        for condition in status.get("conditions", ())
        # Having got a place is a step like the others; having lost one is not.
        if (condition.get("type"), condition.get("status")) != ("Admitted", "True")
    ]
    return rest
