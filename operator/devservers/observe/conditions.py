"""Builds conditions as metav1.Condition has them.

Invariant: lastTransitionTime moves only when the status of a condition does, whatever its reason and message.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from devservers.api.conditions import Condition, find
from devservers_core.types import Json

from .times import format_time


def make_condition(
    previous: Iterable[Condition],
    kind: str,
    ok: bool,
    reason: str,
    message: str,
    *,
    generation: int,
    now: datetime,
) -> Json:
    """The condition of type `kind` as it is written, camelCase."""
    value = "True" if ok else "False"
    before = find(previous, kind)
    since = now
    if before is not None and before.status == value and before.last_transition_time is not None:
        since = before.last_transition_time
    return {
        "type": kind,
        "status": value,
        "reason": reason,
        "message": message,
        "lastTransitionTime": format_time(since),
        "observedGeneration": generation,
    }
