"""Kubernetes manifests as Pulumi resources.

Invariant: what the platform applies is written as plain Kubernetes manifests, the same dicts tests apply.

The SDK's classes would translate some keys on the way and know nothing of our own kinds. The type tokens are
those of the SDK's classes, so either could take over from the other without replacing anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

WAIT_FOR = "pulumi.com/waitFor"
SKIP_AWAIT = "pulumi.com/skipAwait"
TIMEOUT_SECONDS = "pulumi.com/timeoutSeconds"


def token(api_version: str, kind: str) -> str:
    """Pulumi's type token of a kind, like `kubernetes:apps/v1:Deployment`."""
    return f"kubernetes:{api_version if '/' in api_version else f'core/{api_version}'}:{kind}"


class Manifest(pulumi.CustomResource):
    """One Kubernetes object, kept as the manifest says by the Kubernetes provider."""

    def __init__(self, manifest: Mapping[str, Any], opts: pulumi.ResourceOptions) -> None:
        """The resource's name is the object's, after its namespace if it has one."""
        metadata = manifest["metadata"]
        name = "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))
        super().__init__(token(manifest["apiVersion"], manifest["kind"]), name, dict(manifest), opts)


def annotated(manifest: Mapping[str, Any], annotations: Mapping[str, str]) -> dict[str, Any]:
    """A copy with more annotations; an empty mapping adds none."""
    if not annotations:
        return dict(manifest)
    metadata = manifest["metadata"]
    return {
        **manifest,
        "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), **annotations}},
    }


class Component(pulumi.ComponentResource):
    """A group of manifests, `devservers:platform:<its class>`, all by one provider.

    Whatever depends on a component depends on every object in it, and goes before them on destroy.
    """

    def __init__(self, name: str, opts: pulumi.ResourceOptions) -> None:
        super().__init__(f"devservers:platform:{type(self).__name__}", name, None, opts)
        before = opts.depends_on or []
        self._before: list[pulumi.Resource] = list(before) if isinstance(before, list) else []

    def add(
        self,
        manifest: Mapping[str, Any],
        after: Sequence[pulumi.Resource] = (),
        hooks: pulumi.ResourceHookBinding | None = None,
    ) -> Manifest:
        """One object of this component, made after ``after`` and gone before them."""
        return Manifest(manifest, self.options(after, hooks))

    def options(
        self, after: Sequence[pulumi.Resource] = (), hooks: pulumi.ResourceHookBinding | None = None
    ) -> pulumi.ResourceOptions:
        """Options of a resource of this component, made after ``after``."""
        # Said for every object, not only for the component: deletes are ordered by what each one names.
        return pulumi.ResourceOptions(parent=self, depends_on=[*self._before, *after], hooks=hooks)
