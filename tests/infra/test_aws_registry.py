"""ECR repositories and the images that `pulumi up` builds into them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra import ROOT
from infra.catalog.images import PLATFORM
from infra.preview.graph import Graph
from infra.settings.aws import ecr_images
from tests.support.infra.aws_graph import DEV, by_name, part, recorded, settings

NAMES = {"agent", "base", "bastion", "operator", "pytorch", "ssh"}
"""Of images that are built, and of `ssh`, which servers of earlier versions still run."""
ARM = {"name": "arm", "family": "g5g", "size": "xlarge", "max": 1}


def test_registry_has_a_repository_per_image(dev: Graph, prod: Graph) -> None:
    for graph, stack in ((dev, "dev"), (prod, "prod")):
        repositories = part(graph, "Registry").of("Repository")
        assert {node.inputs["name"] for node in repositories} == {f"devservers-{stack}/{name}" for name in NAMES}


def test_repositories_are_immutable_encrypted_and_scanned(dev: Graph) -> None:
    for node in part(dev, "Registry").of("Repository"):
        assert node.inputs["imageTagMutability"] == "IMMUTABLE"
        assert "imageTagMutabilityExclusionFilters" not in node.inputs
        assert node.inputs["imageScanningConfiguration"] == {"scanOnPush": True}
        key = "arn:aws:kms:eu-central-1:111122223333:registry"
        assert node.inputs["encryptionConfigurations"] == [{"encryptionType": "KMS", "kmsKey": key}]


def test_repositories_are_protected_in_prod_only(dev: Graph, prod: Graph) -> None:
    assert {(node.protect, node.inputs["forceDelete"]) for node in part(dev, "Registry").of("Repository")} == {
        (False, True)
    }
    assert {(node.protect, node.inputs["forceDelete"]) for node in part(prod, "Registry").of("Repository")} == {
        (True, False)
    }


def test_lifecycle_policy_keeps_the_last_versions() -> None:
    graph = part(recorded(settings(registry={"keep": 5})), "Registry")
    policies = by_name(graph, "LifecyclePolicy")
    assert set(policies) == NAMES
    untagged, tagged = json.loads(policies["operator"].inputs["policy"])["rules"]
    assert untagged["selection"]["tagStatus"] == "untagged"
    assert tagged["selection"] == {
        "tagStatus": "tagged",
        "tagPatternList": ["*"],
        "countType": "imageCountMoreThan",
        "countNumber": 5,
    }
    assert not graph.of("Image"), "nothing is built unless registry.build says so"


@pytest.mark.parametrize("preview", [False, True])
def test_built_image_tags_are_the_platforms_references(dev: Graph, dev_preview: Graph, preview: bool) -> None:
    graph = part(dev_preview if preview else dev, "Registry")
    references = ecr_images.references("dev", settings(), ROOT)
    assert {node.inputs["tags"][0] for node in graph.of("Image")} == set(references.values())
    for name, reference in references.items():
        assert reference.startswith(f"111122223333.dkr.ecr.eu-central-1.amazonaws.com/devservers-dev/{name}:")


def test_built_images_depend_on_their_repository_and_are_retained(dev: Graph) -> None:
    graph = part(dev, "Registry")
    for node in graph.of("Image"):
        name = node.name.rpartition("-")[0]
        assert any(urn.endswith(f"Repository::{name}") for urn in dev.before(node))
        assert node.retain
        assert (node.inputs["push"], node.inputs["buildOnPreview"]) == (True, False)
        assert not {"registries", "secrets"} & set(node.inputs), "no password in the state"
        assert node.inputs["context"]["location"].startswith("../")


@pytest.mark.parametrize(("pools", "expected"), [([], ["linux/amd64"]), ([ARM], ["linux/amd64", "linux/arm64"])])
def test_built_images_cover_the_pools_architectures(pools: list[dict[str, Any]], expected: list[str]) -> None:
    graph = part(recorded(settings(pools=[*DEV["pools"], *pools])), "Registry")
    platform = {tuple(node.inputs["platforms"]) for node in graph.of("Image") if not node.name.startswith("pytorch-")}
    assert platform == {tuple(expected)}


def test_pytorch_is_built_with_cuda_on_the_base_image_where_a_pool_has_its_gpus(dev: Graph) -> None:
    graph = part(dev, "Registry")
    (torch,) = [node for node in graph.of("Image") if node.name.startswith("pytorch-")]
    references = ecr_images.references("dev", settings(), ROOT)
    assert torch.inputs["buildArgs"] == {"BASE": references["base"], "TORCH": "cuda"}
    assert torch.inputs["platforms"] == ["linux/amd64"]
    assert any("::base-" in urn for urn in dev.before(torch)), "the base image is pushed first"


@pytest.mark.parametrize(
    ("pools", "named"),
    [
        ([ARM], {}),
        ([{"name": "cpu", "family": "m7i", "size": "xlarge", "max": 1}], {}),
        (DEV["pools"], {"pytorch": "registry.example.com/torch:1"}),
    ],
)
def test_pytorch_is_not_built_where_no_flavor_names_the_build(
    pools: list[dict[str, Any]], named: dict[str, str]
) -> None:
    graph = part(recorded(settings(pools=pools), images=named), "Registry")
    assert {node.name.rpartition("-")[0] for node in graph.of("Image")} == {image.name for image in PLATFORM}


def test_build_context_holds_exactly_the_hashed_files() -> None:
    """Else a file that is in the context only would be a new build of an old tag, which the registry refuses."""
    for image in PLATFORM:
        if image.context == ".":
            ignore = (ROOT / f"{image.dockerfile}.dockerignore").read_text().splitlines()
            assert ignore[0] == "**"
            assert set(ignore[1:]) == {*(f"!{file}" for file in image.files), "**/__pycache__"}
        else:
            context = ROOT / image.context
            named = [path for pattern in image.files for path in context.glob(pattern)]
            hashed = {file for path in named for file in ([path] if path.is_file() else path.rglob("*"))}
            assert {path for path in context.rglob("*") if path.is_file()} == {
                context / "Dockerfile",
                *(path for path in hashed if path.is_file()),
            }
