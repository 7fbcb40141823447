"""The base of all settings models, and their common types.

Invariant: what a stack's configuration allows is written beside each field, and errors repeat it.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from devservers.api.fields import ImageReference, Matching


class SettingsModel(BaseModel):
    """A group of configuration values."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )


def allowed(text: str) -> dict[str, Any]:
    """What a field takes, for a Field's json_schema_extra; errors repeat it."""
    return {"allowed": text}


_CIDR = Matching(r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$", "not an IPv4 network", 18)
Cidr = Annotated[str, _CIDR, Field(json_schema_extra=allowed("an IPv4 network, like 10.20.0.0/16"))]
Cidrs = Annotated[
    tuple[Cidr, ...], Field(max_length=60, json_schema_extra=allowed("IPv4 networks like 203.0.113.0/24"))
]
_CPU = Matching(r"^([0-9]+m|[0-9]+(\.[0-9]{1,3})?)$", "not an amount of CPU", 16)
_MEMORY = Matching(r"^[1-9][0-9]*(Mi|Gi)$", "not an amount of memory", 16)
Cpu = Annotated[str, _CPU, Field(json_schema_extra=allowed("CPUs or millicores, like 0.5 or 500m"))]
Memory = Annotated[str, _MEMORY, Field(json_schema_extra=allowed("an amount in Mi or Gi, like 256Mi"))]
Image = Annotated[
    ImageReference,
    Field(json_schema_extra=allowed("an image reference, like registry.example.com/devservers/operator:1.0")),
]
