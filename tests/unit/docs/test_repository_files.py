"""Files that GitHub reads beside the workflows: they name folders, programs and modules that exist."""

from __future__ import annotations

import re

import yaml

from infra import ROOT

GITHUB = ROOT / ".github"


def test_codeowners_names_paths_that_exist() -> None:
    lines = [line.split() for line in (GITHUB / "CODEOWNERS").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0][0] == "*"
    for path, *owners in lines[1:]:
        assert (ROOT / path.strip("/")).exists(), path
        assert all(owner.startswith("@") for owner in owners)


def test_dependabot_watches_every_kind_of_pin_where_it_is() -> None:
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]
    assert {each["package-ecosystem"] for each in updates} == {"uv", "gomod", "github-actions", "docker"}
    markers = {"uv": "uv.lock", "gomod": "go.mod", "docker": "Dockerfile"}
    for each in updates:
        for folder in each.get("directories", [each.get("directory")]):
            found = list(ROOT.glob(f"{folder.strip('/')}/".lstrip("/") + markers.get(each["package-ecosystem"], "*")))
            assert found, (each["package-ecosystem"], folder)


def test_issue_forms_have_a_name_and_fields() -> None:
    for path in sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")):
        form = yaml.safe_load(path.read_text())
        if path.name != "config.yml":
            assert form["name"], path.name
            assert all(each["attributes"] for each in form["body"])


def test_pre_commit_hooks_run_programs_of_the_environment() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/")
        for module in re.findall(r"python -m ([\w.]+)", hook["entry"]):
            assert (ROOT / module.replace(".", "/")).is_dir()


def test_distributed_packages_say_that_they_have_types() -> None:
    for package in ("core/devservers_core", "cli/devctl", "operator/devservers"):
        assert (ROOT / package / "py.typed").exists(), package
