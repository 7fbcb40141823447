"""Runs the Pulumi program on Pulumi's own mocks and records what it registers, with dependencies.

Pulumi's mock monitor keeps no dependencies, so the monitor itself is extended by what a request says.
"""

from __future__ import annotations

import asyncio
import json
import runpy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import pulumi
from pulumi.runtime import mocks, rpc

from infra.local.paths import ROOT


@dataclass
class Node:
    """One registered resource. ``needs`` are the names of the resources it depends on, parent included."""

    type: str
    name: str
    inputs: dict[str, Any]
    provider: str
    parent: str
    needs: set[str] = field(default_factory=set)

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
        """URNs of everything that must be there before ``node``, however indirectly."""
        found: set[str] = set()
        todo = set(node.needs)
        while todo:
            urn = todo.pop()
            if urn in self and urn not in found:
                found.add(urn)
                todo |= self[urn].needs
        return found


class _Mocks(mocks.Mocks):
    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        return f"{args.name}-id", args.inputs

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"the program calls {args.token}; it should know everything from its settings")


class _Monitor(mocks.MockMonitor):
    def __init__(self, graph: Graph) -> None:
        super().__init__(_Mocks())
        self.graph = graph

    def RegisterResource(self, request: Any) -> Any:
        answer = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type == "pulumi:pulumi:Stack":
            return answer
        inputs = rpc.deserialize_properties(request.object)
        needs = {*request.dependencies, request.parent} - {""}
        node = Node(request.type, request.name, inputs, request.provider, request.parent, needs)
        self.graph[answer.urn] = node
        return answer


@dataclass(frozen=True)
class Run:
    """What one run of the program registered, and its stack outputs."""

    graph: Graph
    outputs: dict[str, Any]


def run(config: Mapping[str, Any], env: Mapping[str, str], preview: bool = False) -> Run:
    """infra/__main__.py as the engine runs it, on mocks; raises what it raises."""
    graph = Graph()
    outputs: dict[str, Any] = {}
    values = {
        f"devservers:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in config.items()
    }
    asyncio.set_event_loop(asyncio.new_event_loop())
    mocks.set_mocks(_Mocks(), project="devservers", stack="local", preview=preview, monitor=_Monitor(graph))
    pulumi.runtime.set_all_config(values)

    @mocks.test  # type: ignore[untyped-decorator]
    def program() -> None:
        with patch.dict("os.environ", dict(env), clear=True), patch("pulumi.export", outputs.__setitem__):
            runpy.run_path(str(ROOT / "infra"), run_name="__main__")

    program()
    return Run(graph, outputs)
