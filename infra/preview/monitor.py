"""The resource monitor of a simulated run, in place of Pulumi's engine.

Invariant: what the program registers is recorded with its dependencies, exactly as the engine would receive it.

The protocol is pulumirpc.ResourceMonitor, which Pulumi publishes for its language SDKs. Pulumi's own mocks keep no
dependencies.
"""

from __future__ import annotations

from typing import Any

import pulumi
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime import rpc
from pulumi.runtime.proto import resource_pb2

from infra import PROJECT
from infra.preview.answers import answers
from infra.preview.graph import Graph, Node

STACK_TYPE = "pulumi:pulumi:Stack"
_FEATURES = (
    # Without resource references: a resource in an input is recorded by its id.
    resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_ALIAS_SPECS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_DELETED_WITH,
    resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_HOOKS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_ERROR_HOOKS,
)


class Monitor:
    """Records registered resources and the stack's outputs.

    With ``preview`` everything that AWS or Kubernetes would answer is unknown.
    """

    def __init__(self, stack: str, preview: bool) -> None:
        self.graph = Graph()
        self.outputs: dict[str, Any] = {}
        self._stack, self._preview = stack, preview
        self._root = ""

    def GetDeploymentInfo(self, request: object) -> resource_pb2.DeploymentInfo:
        """The features that the program may use."""
        return resource_pb2.DeploymentInfo(supportedFeatures=_FEATURES)

    def RegisterResource(self, request: resource_pb2.RegisterResourceRequest) -> resource_pb2.RegisterResourceResponse:
        """Records a resource; its outputs are its inputs and what AWS would add."""
        urn = self._urn(request.parent, request.type, request.name)
        if request.type == STACK_TYPE:
            self._root = urn
            return resource_pb2.RegisterResourceResponse(urn=urn)
        inputs = rpc.deserialize_properties(request.object, keep_unknowns=self._preview)
        # The options as the program gave them, not as Pulumi hands them on to children.
        self.graph[urn] = Node(
            request.type,
            request.name,
            inputs,
            request.provider,
            request.parent,
            {*request.dependencies, request.parent} - {""},
            request.protect,
            request.retainOnDelete,
            tuple(request.ignoreChanges),
            request.deletedWith,
        )
        outputs = struct_pb2.Struct()
        outputs.CopyFrom(request.object)
        if self._preview:
            return resource_pb2.RegisterResourceResponse(urn=urn, object=outputs)
        outputs.update(answers(request.type, request.name, inputs))
        return resource_pb2.RegisterResourceResponse(urn=urn, id=f"{request.name}-id", object=outputs)

    def RegisterResourceOutputs(self, request: resource_pb2.RegisterResourceOutputsRequest) -> empty_pb2.Empty:
        """Keeps the stack's outputs; those of components are of no interest."""
        if request.urn == self._root:
            outputs, _ = rpc.deserialize_properties_unwrap_secrets(request.outputs, keep_unknowns=True)
            self.outputs = outputs
        return empty_pb2.Empty()

    def Invoke(self, request: resource_pb2.ResourceInvokeRequest) -> None:
        """Refuses a call to a provider."""
        raise AssertionError(f"the program calls {request.tok}; it should know everything from its settings")

    def ReadResource(self, request: resource_pb2.ReadResourceRequest) -> None:
        """Refuses to read a resource that the program doesn't make."""
        raise AssertionError(f"the program reads {request.type}; it should know everything from its settings")

    def SignalAndWaitForShutdown(self, request: object) -> empty_pb2.Empty:
        """Ends at once: there is nothing to wait for."""
        return empty_pb2.Empty()

    def _urn(self, parent: str, type_: str, name: str) -> str:
        if parent:
            type_ = f"{parent.split('::')[2].rpartition('$')[2]}${type_}"
        return f"urn:pulumi:{self._stack}::{PROJECT}::{type_}::{name}"


class Engine:
    """The engine's log, of which a simulation shows nothing."""

    def Log(self, request: object) -> empty_pb2.Empty:
        """Takes a message."""
        return empty_pb2.Empty()


class Callbacks:
    """The callbacks of an engine into the program: none, as nothing fails here."""

    def register_error_hook(self, hook: pulumi.ErrorHook) -> None:
        """Accepts a hook that is never called."""
