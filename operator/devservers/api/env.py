"""Variables that people set.

Invariant: none starts with DEVSERVERS_, and none is one of OWN: those are the platform's.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from devservers.api.fields import EnvName, list_map, rules
from devservers.api.meta import Model

RESERVED_PREFIX = "DEVSERVERS_"
OWN = ("HOME", "USER", "LOGNAME", "SHELL")
"""The account's, the same in every server."""


class EnvVar(Model):
    """One environment variable, as a literal value."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                f"!self.name.startsWith('{RESERVED_PREFIX}')",
                f"variables starting with {RESERVED_PREFIX} are the platform's own; use another name",
                ".name",
            ),
            (
                f"!(self.name in {list(OWN)})",
                f"{', '.join(OWN)} are the account's own and can't be set; use another name",
                ".name",
            ),
        )
    )

    name: EnvName
    value: str = Field(max_length=32768)


Env = Annotated[tuple[EnvVar, ...], Field(max_length=64, json_schema_extra=dict[str, Any](list_map("name")))]
