"""The resource graph that a run of the Pulumi program registers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Node:
    """One registered resource.

    ``needs`` are the URNs of the resources it depends on, parent included.
    """

    type: str
    name: str
    inputs: dict[str, Any]
    provider: str
    parent: str
    needs: set[str] = field(default_factory=set)
    protect: bool = False
    retain: bool = False
    """Whether `pulumi destroy` leaves it there."""
    ignores: tuple[str, ...] = ()
    """ignore_changes."""
    deleted_with: str = ""
    """URN of the resource whose deletion deletes this one too, so that nobody asks for it to be deleted."""

    @property
    def kind(self) -> str:
        """The last part of its type."""
        return self.type.rpartition(":")[2]


class Graph(dict[str, Node]):
    """Resources by URN."""

    def of(self, kind: str) -> list[Node]:
        """The resources of a kind, by name."""
        return sorted((node for node in self.values() if node.kind == kind), key=lambda node: node.name)

    def one(self, kind: str) -> Node:
        """The only resource of a kind."""
        (node,) = self.of(kind)
        return node

    def objects(self) -> list[dict[str, Any]]:
        """The manifests of all Kubernetes objects."""
        return [node.inputs for node in self.values() if "apiVersion" in node.inputs]

    def before(self, node: Node) -> set[str]:
        """URNs of everything that must be created before ``node``, directly or indirectly."""
        found: set[str] = set()
        todo = set(node.needs)
        while todo:
            urn = todo.pop()
            if urn in self and urn not in found:
                found.add(urn)
                todo |= self[urn].needs
        return found
