"""Conditions of the API's objects, with the six fields of metav1.Condition.

Invariant: a list of conditions has each type once.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from devservers.api.fields import list_map
from devservers.api.meta import Model

STATUSES = ("True", "False", "Unknown")


class Condition(Model):
    """One observation about an object; `message` is for people, `reason` is a CamelCase word for programs."""

    type: str = Field(max_length=64)
    status: str = Field(json_schema_extra={"enum": list(STATUSES)})
    reason: str = Field(max_length=128)
    message: str = Field(default="", max_length=4096)
    last_transition_time: datetime | None = None
    observed_generation: int | None = Field(default=None, ge=0)


Conditions = Annotated[tuple[Condition, ...], Field(max_length=16, json_schema_extra=dict[str, Any](list_map("type")))]


def find(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of that type, None when it was never set."""
    return next((condition for condition in conditions if condition.type == kind), None)
