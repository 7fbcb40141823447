"""Images that only tests use, on the platform's node."""

from __future__ import annotations

from infra.images import Image
from infra.local.images import Builder, load
from infra.local.paths import current
from infra.local.progress import Progress
from tests.support.node.person import Platform


def loaded(platform: Platform, name: str) -> str:
    """What a server names the image of images/NAME by, once it is built and on the node."""
    built = Builder(current(), Progress()).build([Image(name, f"images/{name}/Dockerfile", f"images/{name}", ())])[name]
    load(platform.cluster, [built], Progress())
    return built.reference
