"""Invariant: what a stack's configuration allows is written beside each field, and errors repeat it.

The base of all settings models: frozen, camelCase keys, and a key nobody knows is an error.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Part(BaseModel):
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
