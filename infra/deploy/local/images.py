"""References of the images that the local stack runs."""

from __future__ import annotations

from collections.abc import Iterable

from devcluster.images import KUEUE, kueue_tag, reference_of
from devservers_core.names import LOCAL_IMAGES
from devservers_core.paths import Paths
from infra.catalog.images import PLATFORM, Image


def references(paths: Paths, images: Iterable[Image] = PLATFORM) -> dict[str, str]:
    """What this checkout's images are called, built or not, by name. Raises ToolchainError before Kueue is built."""
    own = {image.name: reference_of(image) for image in images}
    return own | {KUEUE: f"{LOCAL_IMAGES}/{KUEUE}:{kueue_tag(paths)}"}
