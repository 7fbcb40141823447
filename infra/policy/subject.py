"""The resource as a policy rule sees it, and the stack of all of them.

Invariant: a rule sees a resource the same way whether a mock or the engine registered it.

What is known only after an update is UNKNOWN, and a rule never finds fault with what it can't see. Rules
import the standard library and infra.catalog only: the engine runs them in a Python environment of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Value = Any
"""Anything a resource's inputs may hold: text, numbers, switches, lists and mappings of them, UNKNOWN, None."""

ADDON = "aws:eks/addon:Addon"
"""Type of an EKS add-on, which several modules have rules about."""


class Unknown(str):
    """A value that an update will give. It is true, and its text says what it is."""

    __slots__ = ()


UNKNOWN = Unknown("(known after apply)")


@dataclass(frozen=True)
class Subject:
    """One resource as rules see it.

    ``needs`` are the URNs of what it depends on.
    """

    type: str
    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    urn: str = ""
    protect: bool = False
    needs: frozenset[str] = frozenset()

    @property
    def kind(self) -> str:
        """The last part of its type."""
        return self.type.rpartition(":")[2]

    @property
    def kubernetes(self) -> bool:
        """Whether it is a Kubernetes object."""
        return self.type.startswith("kubernetes:")

    def at(self, path: str) -> Value:
        """The input at a path like `vpcConfig.endpointPublicAccess`, or None."""
        return at(self.inputs, path)


class Stack:
    """All resources of a stack, for rules about how they hold together."""

    def __init__(self, subjects: Iterable[Subject]) -> None:
        self.subjects = tuple(subjects)
        self._by_urn = {each.urn: each for each in self.subjects}

    def of(self, *types: str) -> Iterator[Subject]:
        """The resources of these types, `aws:ec2/vpc:Vpc`."""
        return (each for each in self.subjects if each.type in types)

    def needed_by(self, type_: str) -> set[str]:
        """URNs of what the resources of a type depend on, however indirectly."""
        found: set[str] = set()
        todo = {urn for subject in self.of(type_) for urn in subject.needs}
        while todo:
            urn = todo.pop()
            if urn in self._by_urn and urn not in found:
                found.add(urn)
                todo |= self._by_urn[urn].needs
        return found

    @property
    def environment(self) -> str:
        """dev, staging or prod by the default tags on AWS; "" without AWS."""
        for provider in self.of("pulumi:providers:aws"):
            found = default_tags(provider).get("Environment", "")
            if found:
                return str(found)
        return ""

    @property
    def production(self) -> bool:
        """Whether the stricter rules of production hold."""
        return self.environment == "prod"


def at(value: Value, path: str) -> Value:
    """The value at a path of keys; UNKNOWN stays UNKNOWN, None where there is none."""
    for key in path.split("."):
        if isinstance(value, Unknown):
            return value
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def items(value: object) -> list[Value]:
    """A value as a list: a list's elements, one value, or none if unknown."""
    if value is None or isinstance(value, Unknown):
        return []
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return list(value)
    return [value]


def on(value: object) -> bool:
    """Whether a switch is on, or may be: AWS writes some as text."""
    return value is True or isinstance(value, Unknown) or (isinstance(value, str) and value.lower() == "true")


def off(value: object) -> bool:
    """Whether a switch is set to off, or is unknown yet and may be."""
    return value is False or isinstance(value, Unknown) or (isinstance(value, str) and value.lower() == "false")


def decoded(value: Value) -> Value:
    """JSON text as what it says; anything else, and text that is no JSON, as it is."""
    if isinstance(value, str) and not isinstance(value, Unknown):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def default_tags(provider: Subject) -> Mapping[str, Any]:
    """The default tags of a provider, which takes nested values as JSON text."""
    found = at(decoded(provider.at("defaultTags")), "tags")
    return found if isinstance(found, Mapping) else {}
