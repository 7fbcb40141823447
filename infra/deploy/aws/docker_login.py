"""Checks that Docker is logged in to the registry that an update pushes images to.

Without the check the update would fail at the first push, twenty minutes after it began.

Pulumi neither asks for the registry's password nor keeps one: Docker itself is logged in, for twelve hours (ECR).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from infra.deploy.aws.tools import PrerequisiteError
from infra.preview.simulation import settings_of
from infra.preview.stackfile import StackFile
from infra.settings.aws import ecr_images


def require(stack: StackFile, env: Mapping[str, str]) -> None:
    """Raises :class:`PrerequisiteError` when the stack builds images and Docker was never logged in to its registry.

    Whether a login is still good only the registry knows; Docker's file says that there was one.
    """
    aws = settings_of(stack).aws
    if aws is None or not aws.registry.build:
        return
    registry = ecr_images.registry(aws)
    if registry not in registries(env):
        raise PrerequisiteError(
            f"stack {stack.name} builds images, and Docker is not logged in to {registry}",
            f"aws ecr get-login-password --region {aws.region} | "
            f"docker login --username AWS --password-stdin {registry}",
        )


def registries(env: Mapping[str, str]) -> set[str]:
    """The registries Docker has credentials for, or a helper that has them; none when it says nothing."""
    folder = Path(env.get("DOCKER_CONFIG") or Path(env.get("HOME") or Path.home()) / ".docker")
    try:
        content = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return set()
    if not isinstance(content, dict):
        return set()
    # With a credential store Docker still names the registry, its password elsewhere.
    return {name for key in ("auths", "credHelpers") for name in content.get(key) or ()}
