"""Runs the Pulumi program on mocks and records its resource graph.

Invariant: the program is run as it is, on Pulumi's own mocks; what it registers is recorded, with dependencies.

For tests, and for previews where the AWS plugins can't be had. Pulumi's mock monitor keeps no dependencies, so the
monitor itself is extended by what a request says.
"""

from __future__ import annotations

import asyncio
import json
import runpy
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import pulumi
from pulumi.runtime import mocks, rpc
from pulumi.runtime.proto import resource_pb2

from infra import ROOT


@dataclass
class Node:
    """One registered resource. ``needs`` are the names of the resources it depends on, parent included."""

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
    """URN of the resource whose end is this one's too, so that nobody asks for it to be deleted."""

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
    """Answers as AWS would where the program reads an answer; in a preview everything AWS gives is unknown."""

    def __init__(self, preview: bool) -> None:
        self._preview = preview

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if self._preview:
            return "", args.inputs
        return f"{args.name}-id", args.inputs | answers(args.typ, args.name, args.inputs)

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"the program calls {args.token}; it should know everything from its settings")


def answers(kind: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What AWS says of a new resource beyond its inputs, for the kinds whose answers the program reads."""
    if not kind.startswith(("aws:", "eks:")):
        return {}
    service = kind.split(":")[1].partition("/")[0]
    given: dict[str, Any] = {"arn": f"arn:aws:{service}:eu-central-1:111122223333:{name}"}
    if kind == "eks:index:Cluster":
        given |= {
            "clusterSecurityGroupId": f"sg-{name}",
            "nodeSecurityGroupId": f"sg-{name}-nodes",
            "kubeconfigJson": json.dumps({"current-context": name, "clusters": [], "contexts": [], "users": []}),
        }
    if kind == "aws:lb/loadBalancer:LoadBalancer":
        given |= {"dnsName": f"{name}.elb.example.com", "zoneId": "Z0LOADBALANCER", "arnSuffix": f"net/{name}/1"}
    if kind == "aws:lb/targetGroup:TargetGroup":
        given |= {"arnSuffix": f"targetgroup/{name}/1"}
    if kind == "aws:ec2/launchTemplate:LaunchTemplate":
        given |= {"latestVersion": 1}
    if kind == "aws:ecr/repository:Repository":
        given |= {"repositoryUrl": f"111122223333.dkr.ecr.eu-central-1.amazonaws.com/{inputs.get('name', name)}"}
    if kind == "aws:route53/zone:Zone":
        given |= {"zoneId": "Z0MADE", "nameServers": [f"ns-{number}.example.com" for number in range(4)]}
    if kind == "aws:eks/nodeGroup:NodeGroup":
        given |= {"resources": [{"autoscalingGroups": [{"name": f"asg-{name}"}]}]}
    return given


class _Monitor(mocks.MockMonitor):
    def __init__(self, graph: Graph, preview: bool) -> None:
        super().__init__(_Mocks(preview))
        self.graph = graph

    def GetDeploymentInfo(self, request: object) -> resource_pb2.DeploymentInfo:
        """A resource in an input is recorded by its id.

        A reference would be made a resource again here, in a thread whose event loop nobody runs: the program's end
        waited for it, now and then for ever.
        """
        info: resource_pb2.DeploymentInfo = super().GetDeploymentInfo(request)  # type: ignore[no-untyped-call]
        info.supportedFeatures.remove(resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_REFERENCES)
        return info

    def RegisterResource(self, request: resource_pb2.RegisterResourceRequest) -> resource_pb2.RegisterResourceResponse:
        answer: resource_pb2.RegisterResourceResponse = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type == "pulumi:pulumi:Stack":
            return answer
        inputs = rpc.deserialize_properties(request.object)
        needs = {*request.dependencies, request.parent} - {""}
        # The options as the program gave them, not as Pulumi hands them on to children.
        keeps = (request.protect, request.retainOnDelete, tuple(request.ignoreChanges), request.deletedWith)
        node = Node(request.type, request.name, inputs, request.provider, request.parent, needs, *keeps)
        self.graph[answer.urn] = node
        return answer


def _registered(hook: pulumi.ErrorHook) -> asyncio.Future[None]:
    """Stands in for the registration of an error hook: mocks can't call back, and nothing fails on them."""
    done: asyncio.Future[None] = asyncio.get_event_loop().create_future()
    done.set_result(None)
    return done


@dataclass(frozen=True)
class Run:
    """What one run of the program registered, and its stack outputs."""

    graph: Graph
    outputs: dict[str, Any]


def run(config: Mapping[str, Any], env: Mapping[str, str], preview: bool = False, stack: str = "local") -> Run:
    """infra/__main__.py as the engine runs it, on mocks; raises what it raises.

    ``config`` is without the project's prefix. With ``preview`` what AWS or Kubernetes would answer is unknown.
    """
    outputs: dict[str, Any] = {}
    values = {
        f"devservers:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in config.items()
    }

    def program() -> None:
        with (
            patch.dict("os.environ", dict(env), clear=True),
            patch("pulumi.export", outputs.__setitem__),
            patch("pulumi.resource_hooks.register_error_hook", _registered),
        ):
            runpy.run_path(str(ROOT / "infra"), run_name="__main__")

    return Run(_recorded(program, values, preview, stack), outputs)


def record(build: Callable[[], None], preview: bool = False, stack: str = "dev") -> Graph:
    """What ``build`` alone registers: a part of the program, as in :func:`run`."""
    return _recorded(build, {}, preview, stack)


def _recorded(build: Callable[[], None], config: Mapping[str, str], preview: bool, stack: str) -> Graph:
    graph = Graph()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    monitor = _Monitor(graph, preview)
    mocks.set_mocks(monitor.mocks, project="devservers", stack=stack, preview=preview, monitor=monitor)
    pulumi.runtime.set_all_config(dict(config))

    @mocks.test  # type: ignore[untyped-decorator]
    def program() -> None:
        build()

    with closing(loop):
        program()
    return graph
