"""Images that only tests use, on the platform's node."""

from __future__ import annotations

from devcluster.images import Builder, load
from devcluster.progress import Progress
from devservers_core.paths import current
from infra.catalog.images import Image
from tests.support.node.person import Platform


def loaded(platform: Platform, name: str) -> str:
    """What a server names the image of images/NAME by, once it is built and on the node."""
    built = Builder(current(), Progress()).build([Image(name, f"images/{name}/Dockerfile", f"images/{name}", ())])[name]
    load(platform.cluster, [built], Progress())
    return built.reference
