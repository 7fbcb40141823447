"""Refusal of circular dependencies while a run of the program is recorded.

Invariant: it answers as the SDK's own check, pulumi.runtime.resource_cycle_breaker.declare_dependency.

The SDK walks all dependencies anew for each one that a resource declares, by nested generators: half of the time that
the graph of an AWS environment takes. Here a resource on which nothing depends is not searched for, and a search is
a loop.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from unittest.mock import patch

import pulumi


class DependencyCheck:
    """The dependencies that the resources of one run declared."""

    def __init__(self) -> None:
        self._dependencies: dict[pulumi.Resource, set[pulumi.Resource]] = {}
        self._dependents: set[pulumi.Resource] = set()
        """Resources on which others depend."""

    def installed(self) -> AbstractContextManager[object]:
        """The SDK asks this check within the block."""
        return patch("pulumi.runtime.rpc.declare_dependency", self.declare)

    def declare(self, from_resource: pulumi.Resource, to_resource: pulumi.Resource) -> bool:
        """Note that a resource depends on another one; False if that one depends on it, and nothing noted."""
        dependencies = self._dependencies.setdefault(from_resource, set())
        if to_resource in dependencies:
            return True
        if self._reaches(to_resource, from_resource):
            return False
        dependencies.add(to_resource)
        self._dependents.add(to_resource)
        return True

    def _reaches(self, start: pulumi.Resource, wanted: pulumi.Resource) -> bool:
        if start is wanted:
            return True
        if wanted not in self._dependents:
            return False
        seen, todo = {start}, [start]
        while todo:
            following = self._dependencies.get(todo.pop(), set()) - seen
            if wanted in following:
                return True
            seen |= following
            todo += following
        return False
