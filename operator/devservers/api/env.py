"""Invariant: a variable that people set never starts with DEVSERVERS_; those are the platform's own."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from devservers.api.fields import EnvName, list_map, rules
from devservers.api.meta import Model

RESERVED_PREFIX = "DEVSERVERS_"


class EnvVar(Model):
    """One environment variable, as a literal value."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                f"!self.name.startsWith('{RESERVED_PREFIX}')",
                f"variables starting with {RESERVED_PREFIX} are the platform's own; use another name",
                ".name",
            )
        )
    )

    name: EnvName
    value: str = Field(max_length=32768)


Env = Annotated[tuple[EnvVar, ...], Field(max_length=64, json_schema_extra=dict[str, Any](list_map("name")))]
