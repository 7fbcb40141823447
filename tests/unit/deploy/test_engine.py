"""What a person's own Pulumi is asked to do, and in what environment; it is a script here that writes it down."""

from __future__ import annotations

from pathlib import Path

import pytest

from devcluster import modules
from devservers_core.paths import Paths
from infra.deploy.local.engine import Engine
from infra.local.context import Choice

SCRIPT = """#!/bin/sh
echo "$@" >> "$HOME/asked"
env | grep -E '^(PULUMI|HELM)_' > "$HOME/environment"
case "$1" in stack) echo '[{"name": "local"}]';; esac
"""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    (tmp_path / "bin").mkdir()
    for name in ("pulumi", "pulumi-language-python", "kubectl"):  # these alone: a machine may have others, or none
        (tmp_path / "bin" / name).write_text(SCRIPT)
        (tmp_path / "bin" / name).chmod(0o755)
    path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
    monkeypatch.delenv("DEVSERVERS_TOOLS_DIR", raising=False)
    monkeypatch.setenv("PATH", path)
    env = {"HOME": str(tmp_path), "PATH": path, "HELM_CACHE_HOME": "/elsewhere"}
    return Engine(Choice(tmp_path / "kubeconfig", "kind-x", "a test"), Paths.of(env), env)


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text().splitlines()


def test_the_one_plugin_that_is_needed_is_fetched_once(engine: Engine, tmp_path: Path) -> None:
    install = f"plugin install resource kubernetes {modules.PULUMI_KUBERNETES}"
    engine.preview()
    assert asked(tmp_path)[0] == install
    (engine.home / "plugins" / f"resource-kubernetes-v{modules.PULUMI_KUBERNETES}").mkdir()
    engine.preview()
    assert asked(tmp_path).count(install) == 1


def test_a_plugin_on_path_is_used_as_it_is(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "bin" / "pulumi-resource-kubernetes").write_text(SCRIPT)
    (tmp_path / "bin" / "pulumi-resource-kubernetes").chmod(0o755)
    engine.preview()
    assert not [line for line in asked(tmp_path) if line.startswith("plugin")]


def test_no_plugin_is_fetched_behind_a_person_s_back_and_helm_has_nothing_of_theirs(
    engine: Engine, tmp_path: Path
) -> None:
    engine.preview()
    environment = dict(line.split("=", 1) for line in (tmp_path / "environment").read_text().splitlines())
    assert environment["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"
    for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"):
        assert Path(environment[name]).is_relative_to(engine.home)
