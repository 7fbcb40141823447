"""The DevServerFlavors of a stack.

Invariant: a stack's flavors come from one list, so what devctl offers is what the platform has. Each carries the
platform's version, with which `devctl version` compares its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi

from devservers.api.flavor import DevServerFlavor
from devservers.api.lifecycle import FlavorLifecycle
from devservers_core.names import ANNOTATION_VERSION, GPU
from devservers_core.version import __version__
from infra.platform.manifest import Component, annotated
from infra.settings.platform.lifecycle import FlavorDefaults, with_defaults
from infra.settings.stack import Settings

CLOUD_GPU_DEFAULTS = FlavorDefaults(lifecycle=FlavorLifecycle(idle_timeout="1h", max_idle_timeout="8h"))
"""Of GPU flavors on AWS, unless the stack says otherwise: a server that somebody forgot burns money from the first
day on."""


def of_stack(flavor: DevServerFlavor, settings: Settings) -> DevServerFlavor:
    """The flavor with the defaults and limits that a stack and its pool give its servers."""
    layers: list[FlavorDefaults] = [settings]
    if settings.aws and GPU in flavor.spec.resources.requests:
        layers = [CLOUD_GPU_DEFAULTS, settings, *(pool for pool in settings.aws.pools if pool.name == flavor.name)]
    return with_defaults(flavor, layers)


class Flavors(Component):
    """DevServerFlavors, from manifests."""

    def __init__(self, manifests: Sequence[dict[str, Any]], opts: pulumi.ResourceOptions) -> None:
        super().__init__("flavors", opts)
        for manifest in manifests:
            self.add(annotated(manifest, {ANNOTATION_VERSION: __version__}))
        self.names = [str(manifest["metadata"]["name"]) for manifest in manifests]
        self.register_outputs({"names": self.names})
