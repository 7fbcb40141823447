"""Problems of a stack's configuration, and how they are reported.

Invariant: whatever is wrong with a configuration comes out at once, each thing with its key, its value, what is
allowed and what to do.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from pydantic import BaseModel, ValidationError

from infra import PROJECT
from infra.errors import InfraError


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a stack's configuration."""

    key: str
    value: str
    reason: str
    remedy: str

    @property
    def text(self) -> str:
        """The key, its value and what is wrong with it."""
        return f"{self.key} = {self.value}: {self.reason}"

    def __str__(self) -> str:
        return f"{self.text}\n  {self.remedy}"


class SettingsError(InfraError):
    """A stack's configuration can't be used; the text has two lines for each problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        first, *others = problems
        super().__init__(first.text, "\n".join([first.remedy, *(str(other) for other in others)]))
        self.problems = tuple(problems)


def problem(path: str, value: object, reason: str, remedy: str) -> Problem:
    """A problem at a path below the project's prefix: `pools[0].family`."""
    return Problem(f"{PROJECT}:{path}", shown(value), reason, remedy)


def edit_remedy(stack: str, path: str) -> str:
    """The remedy that always works: setting the key."""
    return f"pulumi config set --stack {stack} --path {PROJECT}:{path} VALUE, or edit stacks/Pulumi.{stack}.yaml"


def duplicates(path: str, values: Sequence[str]) -> list[Problem]:
    """A problem for each value that was there before in the list at ``path``."""
    return [
        problem(
            f"{path}[{place}]",
            value,
            f"it is there twice, first as {path}[{values.index(value)}]",
            "remove one of them",
        )
        for place, value in enumerate(values)
        if values.index(value) < place
    ]


def of_model(stack: str, model: type[BaseModel], error: ValidationError, whole: str) -> list[Problem]:
    """The problems of a validation error.

    ``whole`` is the path of errors about the model as a whole.
    """
    found = []
    for item in error.errors(include_url=False):
        parts = [str(part) for part in item["loc"]]
        path = pulumi_path(item["loc"]) or whole
        unset = item["type"] == "missing"
        reason = "not set" if unset else item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            reason = "no such key"
        said = allowed_at(model, parts)
        reason += f"; allowed: {said}" if said else ""
        found.append(problem(path, None if unset else item.get("input"), reason, edit_remedy(stack, path)))
    return found


def pulumi_path(loc: Sequence[int | str]) -> str:
    """A pydantic location as Pulumi writes paths: `users[0].quota.gpu`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def allowed_at(model: type[BaseModel], parts: Sequence[str]) -> str | None:
    """What the field at a path says is allowed, None when it says nothing."""
    for position, part in enumerate(parts):
        if part.isdigit():
            continue
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if part not in fields:
            near = difflib.get_close_matches(part, fields, n=1)
            return f"{near[0]} (nearest)" if near else ", ".join(fields)
        field = fields[part]
        inner = model_in(field.annotation)
        if inner is not None and any(not rest.isdigit() for rest in parts[position + 1 :]):
            model = inner
            continue
        extra = field.json_schema_extra
        if isinstance(extra, dict) and "allowed" in extra:
            return str(extra["allowed"])
        if inner is not None:
            names = ", ".join(each.alias or name for name, each in inner.model_fields.items())
            return f"an object with {names}"
        return None
    return "an object with " + ", ".join(field.alias or name for name, field in model.model_fields.items())


def model_in(annotation: object) -> type[BaseModel] | None:
    """The model a field holds: itself, or the one inside `tuple[...]` or `... | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        if found := model_in(argument):
            return found
    return None


def shown(value: object) -> str:
    """A value as errors show it, cut at 80 characters."""
    if value is None or value == "":
        return "(unset)"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
