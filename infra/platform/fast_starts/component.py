"""The component of a stack's fast starts."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from devservers.api.flavor import DevServerFlavor
from devservers_core.names import DEFAULT_FLAVOR
from infra.platform.fast_starts import headroom, pre_pull
from infra.platform.manifest import SKIP_AWAIT, Component, annotated
from infra.platform.pools import Pool
from infra.settings.checks.flavors import LOCAL_POOL
from infra.settings.stack import Settings

_NOT_AWAITED = {SKIP_AWAIT: "true"}
"""A large image takes minutes, and a placeholder may wait for a node: an update waits for neither."""


class FastStarts(Component):
    """Pre-pulls and placeholders, in the operator's namespace, which must exist."""

    def __init__(
        self,
        settings: Settings,
        pools: Sequence[Pool],
        offered: Sequence[DevServerFlavor],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("fast-starts", opts)
        wanted = settings.fast_starts
        secrets = list(settings.image_pull_secrets)
        listed = [(entry.image, entry.pools) for entry in wanted.pre_pull]
        # The GPUs of a local cluster are a pool of their own on the nodes of the other.
        nodes = [pool for pool in pools if pool.labelled or pool.name == LOCAL_POOL]
        for pool in nodes:
            if images := pre_pull.images_of(pool, settings.images, listed):
                self.add(annotated(pre_pull.daemon_set(pool, images, settings.images, secrets), _NOT_AWAITED))
        if wanted.headroom:
            priority = self.add(headroom.priority_class())
            by_pool = {pool.name: pool for pool in nodes}
            flavors = {flavor.name: flavor for flavor in offered}
            for entry in wanted.headroom:
                pool = by_pool[entry.pool]
                own = entry.flavor or (pool.name if pool.gpus else DEFAULT_FLAVOR)
                made = headroom.deployment(pool, flavors[own], entry.servers, settings.images.base, secrets)
                self.add(annotated(made, _NOT_AWAITED), [priority])
        self.register_outputs({"headroom": sum(entry.servers for entry in wanted.headroom)})
