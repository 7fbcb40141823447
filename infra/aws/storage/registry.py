"""ECR repositories of the platform's images, and their builds.

Invariant: a tag in the registry means one image for ever, and what the platform is told to run is what is there.

Images are named by tags that are hashes of what goes in (infra/settings/aws/ecr_images.py), in repositories where a tag
can't be moved: as firm as a digest, and known before anything is built.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_docker_build as docker
from pulumi_aws import ecr

from infra import ROOT
from infra.aws.component import Component
from infra.aws.kms_keys import Security
from infra.catalog import FAMILIES
from infra.catalog.images import BASE, PLATFORM, PYTORCH, Image
from infra.settings.aws import ecr_images
from infra.settings.aws.models import Aws
from infra.settings.stack import Images

FORMER_IMAGES = ("ssh",)
"""Images of earlier versions, which servers started by them still run: their repositories stay."""
REPOSITORIES = tuple(sorted({*(image.name for image in (*PLATFORM, PYTORCH)), *FORMER_IMAGES}))
"""One for each image, whether `pulumi up` builds it or somebody else pushes it there."""
UNTAGGED_DAYS = 7
"""After so long, layers of failed pushes go. What a multi-platform image consists of is untagged, too, but ECR keeps
what an image refers to."""


def lifecycle(keep: int) -> dict[str, Any]:
    """The lifecycle policy: keeps the last ``keep`` tagged images of a repository.

    Untagged ones are deleted after a week.
    """

    def rule(priority: int, what: str, **selection: Any) -> dict[str, Any]:  # noqa: ANN401
        return {
            "rulePriority": priority,
            "description": what,
            "selection": selection,
            "action": {"type": "expire"},
        }

    return {
        "rules": [
            rule(
                1,
                f"untagged for {UNTAGGED_DAYS} days",
                tagStatus="untagged",
                countType="sinceImagePushed",
                countUnit="days",
                countNumber=UNTAGGED_DAYS,
            ),
            rule(
                2,
                f"more than {keep}",
                tagStatus="tagged",
                tagPatternList=["*"],
                countType="imageCountMoreThan",
                countNumber=keep,
            ),
        ]
    }


def platforms(aws: Aws) -> list[docker.Platform]:
    """The platforms of the nodes; building another one than the builder's is emulated."""
    families = {aws.system.family, *(pool.family for pool in aws.pools)}
    arm = any(FAMILIES[family].architecture == "arm64" for family in families)
    return [docker.Platform.LINUX_AMD64, *([docker.Platform.LINUX_ARM64] if arm else [])]


class Registry(Component):
    """A repository for each image, and the images if `registry.build` is set.

    Docker must be logged in to the registry then: `pulumi up` neither asks for a password nor keeps one in its state.
    """

    def __init__(self, stack: str, aws: Aws, images: Images, security: Security, opts: pulumi.ResourceOptions) -> None:
        super().__init__("registry", opts)
        keep = aws.production
        made: dict[str, pulumi.Resource] = {}
        for name in REPOSITORIES:
            repository = ecr.Repository(
                name,
                name=ecr_images.repository(stack, name),
                image_tag_mutability="IMMUTABLE",
                encryption_configurations=[
                    ecr.RepositoryEncryptionConfigurationArgs(encryption_type="KMS", kms_key=security.registry_key.arn)
                ],
                image_scanning_configuration=ecr.RepositoryImageScanningConfigurationArgs(scan_on_push=True),
                # Elsewhere destroy takes the images along: each can be built again from its checkout.
                force_delete=not keep,
                opts=self.options(protect=keep),
            )
            ecr.LifecyclePolicy(
                name,
                repository=repository.name,
                policy=json.dumps(lifecycle(aws.registry.keep)),
                opts=self.options(),
            )
            made[name] = repository
        if aws.registry.build:
            self._build(stack, aws, images, made)
        self.register_outputs({})

    def _build(self, stack: str, aws: Aws, images: Images, repositories: dict[str, pulumi.Resource]) -> None:
        builder = docker.Provider("images", opts=pulumi.ResourceOptions(parent=self))
        references = ecr_images.references(stack, aws, ROOT)

        def options(image: Image, *after: pulumi.Resource) -> pulumi.ResourceOptions:
            return pulumi.ResourceOptions.merge(
                self.options([repositories[image.name], *after]),
                # A version before this one stays: pods may still run it, and ECR's own rule counts versions.
                pulumi.ResourceOptions(provider=builder, retain_on_delete=True),
            )

        made = {
            image.name: self._image(image, references[image.name], platforms(aws), options(image)) for image in PLATFORM
        }
        # Built only where it is what the flavors name: it takes many times as long as the others together.
        if PYTORCH.name in references and images.pytorch == references[PYTORCH.name]:
            arguments = {"BASE": references[BASE.name], "TORCH": "cuda"}
            amd64 = [docker.Platform.LINUX_AMD64]
            self._image(PYTORCH, references[PYTORCH.name], amd64, options(PYTORCH, made[BASE.name]), arguments)

    @staticmethod
    def _image(
        image: Image,
        reference: str,
        built_for: list[docker.Platform],
        options: pulumi.ResourceOptions,
        arguments: Mapping[str, str] | None = None,
    ) -> docker.Image:
        return docker.Image(
            # New content is another resource: pushing again what has its tag already would be refused.
            f"{image.name}-{reference.rpartition(':')[2]}",
            tags=[reference],
            push=True,
            # A preview builds nothing, in CI neither (the provider's default there).
            build_on_preview=False,
            platforms=built_for,
            build_args=dict(arguments) if arguments else None,
            # Relative to the folder of the program, so that the state says nothing of this machine.
            context=docker.BuildContextArgs(location=f"../{image.context}"),
            dockerfile=docker.DockerfileArgs(location=f"../{image.dockerfile}"),
            opts=options,
        )
