"""Test and release workflows: what they run exists, permissions are minimal."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra import ROOT
from infra.catalog.images import PLATFORM

FOLDER = ROOT / ".github" / "workflows"
NAMES = ("ci.yml", "release.yml")
SHA = re.compile(r"^[\w.-]+/[\w./-]+@[0-9a-f]{40}$")


def workflow(name: str) -> dict[str, Any]:
    content = yaml.safe_load((FOLDER / name).read_text())
    assert isinstance(content, dict)
    # YAML 1.1 reads the key `on` as true.
    return {"on" if key is True else key: value for key, value in content.items()}


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in workflow(name)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yml")), ids=lambda path: path.name)
def test_workflow_actions_of_others_are_pinned_by_commit(path: Path) -> None:
    for job in workflow(path.name)["jobs"].values():
        for step in job.get("steps", []):
            uses = step.get("uses", "./")
            assert uses.startswith("./") or SHA.match(uses), uses


@pytest.mark.parametrize("name", NAMES)
def test_workflow_gives_no_right_that_a_job_does_not_name(name: str) -> None:
    assert workflow(name)["permissions"] == {}
    assert all("permissions" in job and "timeout-minutes" in job for job in workflow(name)["jobs"].values())


def test_ci_only_reads() -> None:
    assert all(job["permissions"] == {"contents": "read"} for job in workflow("ci.yml")["jobs"].values())
    assert "secrets." not in (FOLDER / "ci.yml").read_text()


def test_release_rights_are_those_that_each_job_uses() -> None:
    assert {name: job["permissions"] for name, job in workflow("release.yml")["jobs"].items()} == {
        "version": {"contents": "read"},
        "wheels": {"contents": "read"},
        "image": {"contents": "read", "packages": "write"},
        "publish": {"contents": "write", "packages": "write", "id-token": "write"},
    }


@pytest.mark.parametrize("name", NAMES)
def test_workflow_pastes_nothing_into_a_script(name: str) -> None:
    for step in steps(name):
        assert "${{" not in step.get("run", ""), step.get("name")
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_ci_runs_each_tier_and_each_python() -> None:
    jobs = workflow("ci.yml")["jobs"]
    makefile = (ROOT / "Makefile").read_text()
    (tiers,) = re.findall(r"^TIERS := (.*)$", makefile, re.MULTILINE)
    assert jobs["tier"]["strategy"]["matrix"]["tier"] == list(
        dict.fromkeys(re.findall(r"tests/(\w+)(?=[\s\"]|$)", tiers))
    )
    assert jobs["check"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    for target in re.findall(r"\bmake ([a-z]+)", "\n".join(step.get("run", "") for step in steps("ci.yml"))):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_release_builds_every_image_of_the_platform_for_both_architectures() -> None:
    matrix = workflow("release.yml")["jobs"]["image"]["strategy"]["matrix"]
    assert matrix["arch"] == ["amd64", "arm64"]
    built = {(each["image"], each["dockerfile"], each["context"]) for each in matrix["include"]}
    assert built == {(image.name, image.dockerfile, image.context) for image in PLATFORM}
    assert matrix["image"] == sorted(image.name for image in PLATFORM)
    (publish,) = [step["run"] for step in steps("release.yml") if "imagetools create" in step.get("run", "")]
    assert f"for image in {' '.join(matrix['image'])}; do" in publish


def test_release_begins_with_a_version_tag_and_ends_signed() -> None:
    release = workflow("release.yml")
    assert release["on"] == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+"]}}
    assert [job.get("needs") for job in release["jobs"].values()] == [None, "version", "version", ["wheels", "image"]]
    runs = "\n".join(step.get("run", "") for step in steps("release.yml"))
    for needed in ("cosign sign --yes", "cosign sign-blob --yes", "--sbom=true", "cyclonedx1.5", "gh release create"):
        assert needed in runs
    assert re.search(r'^__version__ = "\d+\.\d+\.\d+"$', (ROOT / "core/devservers_core/version.py").read_text(), re.M)


def test_dry_run_of_make_runs_no_test() -> None:
    """`make -n` executes recipe lines that hold $(MAKE)."""
    lines = (ROOT / "Makefile").read_text().replace("\\\n", "").splitlines()
    assert [line for line in lines if line.startswith("\t") and "$(MAKE)" in line and "pytest" in line] == []


def test_bastion_tier_runs_the_fast_tests_that_need_root() -> None:
    """A pull request's job of `make check` is not root, and skips them."""
    command = ["make", "-n", "tier", "TIER=bastion"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "tests/unit/bastion" in shown
