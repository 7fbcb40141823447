"""Base classes of the API's models.

camelCase outside and snake_case inside, frozen, and unknown fields are ignored, because an object written for a newer
CRD must not stop an older operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from devservers.api.errors import InvalidObjectError
from devservers_core.names import API_VERSION, GROUP

_ALIASES = {"enable_ssh": "enableSSH"}


class Model(BaseModel):
    """A part of an API object: immutable, camelCase on the wire, unknown fields ignored."""

    model_config = ConfigDict(
        frozen=True,
        use_attribute_docstrings=True,
        extra="ignore",
        populate_by_name=True,
        alias_generator=lambda name: _ALIASES.get(name) or to_camel(name),
    )

    def to_dict(self) -> dict[str, Any]:
        """The JSON shape, camelCase, without the fields that were never set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


class Metadata(Model):
    """The parts of ObjectMeta that decisions are made from."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """One printer column of `kubectl get`; priority 1 shows it with `-o wide` only."""

    name: str
    json_path: str
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True)
class Names:
    """How a kind is called in the API."""

    kind: str
    plural: str
    short: str
    namespaced: bool
    columns: tuple[Column, ...]

    @property
    def crd(self) -> str:
        """The name of its CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


class Resource(Model):
    """A whole API object. Subclasses say what `spec` and `status` are and how the kind is called."""

    names: ClassVar[Names]

    metadata: Metadata

    @classmethod
    def parse(cls, manifest: Mapping[str, Any]) -> Self:
        """The object in a manifest. Raises InvalidObjectError, one line, when it doesn't fit the model."""
        try:
            return cls.model_validate(manifest)
        except ValidationError as error:
            raise InvalidObjectError.of(cls.names.kind, error) from None

    @property
    def name(self) -> str:
        """metadata.name."""
        return self.metadata.name

    def manifest(self) -> dict[str, Any]:
        """The object as it would be written to the API server, without what was never set."""
        return {"apiVersion": API_VERSION, "kind": self.names.kind} | self.to_dict()
