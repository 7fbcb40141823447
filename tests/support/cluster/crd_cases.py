"""Test cases for every constraint of a CRD schema.

Invariant: the cases come from the generated schema itself, so a constraint without a reject case can't exist.

Each starts from a whole valid example and spoils one place in it. Pure; the tests send the results.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True)
class Case:
    """An example with `value` at `path`; `expected` is part of the message, empty when it is to be accepted."""

    path: Path
    value: Any
    expected: str = ""

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path))}-{self.expected or 'accepted'}".replace(" ", "_")


def with_value(example: Any, path: Path, value: Any) -> Any:
    """A deep copy of `example` with `value` at `path`; a missing last key is added."""
    if not path:
        return copy.deepcopy(value)
    result = copy.deepcopy(example)
    place = result
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return result


def without(example: Any, path: Path) -> Any:
    """A deep copy of `example` without the key at `path`."""
    result = copy.deepcopy(example)
    place = result
    for part in path[:-1]:
        place = place[part]
    del place[path[-1]]
    return result


def constraint_cases(schema: Any, example: Any, path: Path = ()) -> Iterator[Case]:
    """A reject case for every constraint below `schema`, and accept cases for number limits and enum values.

    `example` must have every place that the schema has: AssertionError names the first that is missing.
    """
    yield from _own(schema, example, path)
    for name, each in schema.get("properties", {}).items():
        if path == () and name in {"apiVersion", "kind", "metadata"}:
            continue
        assert name in example, f"the example has no {'.'.join(map(str, (*path, name)))}"
        yield from constraint_cases(each, example[name], (*path, name))
    if "items" in schema:
        assert example, f"the example's {path} is empty"
        yield from _item_cases(schema["items"], example, path)
    if isinstance(schema.get("additionalProperties"), dict):
        key = next(iter(example))
        yield from constraint_cases(schema["additionalProperties"], example[key], (*path, key))


def _item_cases(schema: Any, example: list[Any], path: Path) -> Iterator[Case]:
    """The cases of a list's items; a field that excludes another one may be in a later item of the example."""
    if "properties" not in schema:
        yield from constraint_cases(schema, example[0], (*path, 0))
        return
    yield from _own(schema, example[0], (*path, 0))
    for name, each in schema["properties"].items():
        index = next((at for at, item in enumerate(example) if name in item), 0)
        assert name in example[index], f"the example has no {'.'.join(map(str, (*path, index, name)))}"
        yield from constraint_cases(each, example[index][name], (*path, index, name))


def _own(schema: Any, example: Any, path: Path) -> Iterator[Case]:
    wrong = {"string": (7, "string"), "integer": ("x", "integer"), "number": ("x", "number")}
    wrong |= {"boolean": ("x", "boolean"), "array": ("x", "array"), "object": ("x", "object")}
    if schema.get("type") in wrong and path:
        value, expected = wrong[schema["type"]]
        yield Case(path, value, f"must be of type {schema.get('format', expected)}")
    if schema.get("x-kubernetes-int-or-string"):
        yield Case(path, True, "must be of type integer,string")
    if "maxLength" in schema:
        yield Case(path, "a" * (schema["maxLength"] + 1), "Too long")
    if "maxItems" in schema:
        yield Case(path, [example[0]] * (schema["maxItems"] + 1), "Too many")
    if "maxProperties" in schema:
        many = {f"key{n}": next(iter(example.values())) for n in range(schema["maxProperties"] + 1)}
        yield Case(path, many, "Too many")
    if "minimum" in schema:
        yield Case(path, schema["minimum"] - 1, "should be greater than or equal to")
        yield Case(path, schema["minimum"])
    if "maximum" in schema:
        yield Case(path, schema["maximum"] + 1, "should be less than or equal to")
        yield Case(path, schema["maximum"])
    if "enum" in schema:
        yield Case(path, "no-such-value", "Unsupported value")
        for value in schema["enum"]:
            yield Case(path, value)
    if schema.get("format") == "date-time":
        yield Case(path, "tomorrow", "must be of type date-time")
        yield Case(path, "2027-01-01T00:00:00", "must be of type date-time")
        yield Case(path, "2027-01-01T00:00:00+01:00")
    if schema.get("x-kubernetes-list-type") in {"map", "set"}:
        yield Case(path, [example[0], example[0]], "Duplicate value")
    for name in schema.get("required", []):
        if path:
            yield Case((*path, name), None, "Required value")


def messages(schema: Any) -> Iterator[str]:
    """The message of every CEL rule below `schema`."""
    for rule in schema.get("x-kubernetes-validations", []):
        yield rule["message"]
    below = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for each in below:
        if isinstance(each, dict):
            yield from messages(each)
