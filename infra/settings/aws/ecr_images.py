"""References of the platform's images in an environment's ECR registry.

Invariant: what an environment's registry is told to hold is what the platform is told to run.

Reads the checkout, and makes nothing: the references are known before the first resource, so a preview shows them.
"""

from __future__ import annotations

from pathlib import Path

from infra.catalog import FAMILIES
from infra.catalog.images import PLATFORM, PYTORCH
from infra.settings.aws.models import Aws
from infra.settings.aws.naming import named


def registry(aws: Aws) -> str:
    """The account's registry in the region (ECR's own host name)."""
    suffix = "amazonaws.com.cn" if aws.region.startswith("cn-") else "amazonaws.com"
    return f"{aws.account_id}.dkr.ecr.{aws.region}.{suffix}"


def namespace(stack: str) -> str:
    """The prefix of a stack's ECR repositories, as an account may hold several."""
    return named(stack)


def repository(stack: str, image: str) -> str:
    """The name of an image's ECR repository."""
    return f"{namespace(stack)}/{image}"


def references(stack: str, aws: Aws, root: Path) -> dict[str, str]:
    """References of the platform's images that `pulumi up` builds from ``root``.

    Tags are hashes of what goes in, so they suit a registry where a tag is never moved. PyTorch's is among them where
    a pool has GPUs it has a build for: there is none with CUDA for the GPUs of arm64 machines.
    """
    families = (FAMILIES[pool.family] for pool in aws.pools)
    with_torch = any(family.gpu and family.architecture == "amd64" for family in families)
    images = (*PLATFORM, PYTORCH) if with_torch else PLATFORM
    return {image.name: f"{registry(aws)}/{repository(stack, image.name)}:{image.digest(root)}" for image in images}
