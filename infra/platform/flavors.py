"""The DevServerFlavors of a stack.

Invariant: a stack's flavors come from one list, so what devctl offers is what the platform has. Each carries the
platform's version, with which `devctl version` compares its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi

from devservers_core.names import ANNOTATION_VERSION
from devservers_core.version import __version__
from infra.platform.manifest import Component, annotated


class Flavors(Component):
    """DevServerFlavors, from manifests."""

    def __init__(self, manifests: Sequence[dict[str, Any]], opts: pulumi.ResourceOptions) -> None:
        super().__init__("flavors", opts)
        for manifest in manifests:
            self.add(annotated(manifest, {ANNOTATION_VERSION: __version__}))
        self.names = [str(manifest["metadata"]["name"]) for manifest in manifests]
        self.register_outputs({"names": self.names})
