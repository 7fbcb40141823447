"""Refuses settings whose field the API doesn't accept yet.

Invariant: a setting works from the commit on in which its field of the API does, without a word here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from devservers.api.fields import OnWrite
from infra.settings.problems import Problem, problem


def refusal(field: FieldInfo) -> str | None:
    """Why the API accepts no value of a field; None when it accepts some."""
    rules = (each for each in (*field.metadata, *_metadata(field.annotation)) if isinstance(each, OnWrite))
    return next((rule.message for rule in rules if rule.expression == "false"), None)


def problems_of(path: str, values: BaseModel, model: type[BaseModel] | None = None) -> Iterator[Problem]:
    """A problem for each value below a path that the API refuses.

    ``model`` is the API's, where the values are of a settings model with the same fields.
    """
    for name in type(values).model_fields:
        field = (model or type(values)).model_fields.get(name)
        value = getattr(values, name)
        if field is None or value is None or name not in values.model_fields_set:
            continue
        at = ".".join(filter(None, (path, field.alias or name)))
        if why := refusal(field):
            yield problem(at, _shown(value), why, "remove it")
        elif isinstance(value, BaseModel):
            yield from problems_of(at, value)


def _metadata(annotation: object) -> Iterator[object]:
    """What is annotated inside a union: `Annotated[str, X] | None` has X."""
    if get_origin(annotation) is Annotated:
        yield from annotation.__metadata__  # type: ignore[attr-defined]
        return
    for argument in get_args(annotation):
        yield from _metadata(argument)


def _shown(value: object) -> object:
    """A value as the stack's file has it."""
    if isinstance(value, BaseModel):
        return json.loads(value.model_dump_json(by_alias=True, exclude_unset=True))
    return int(value) if isinstance(value, float) and value.is_integer() else value
