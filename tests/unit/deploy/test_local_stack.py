"""The local stack's calls of a person's own Pulumi, and their environment; a script here writes them down."""

from __future__ import annotations

from pathlib import Path

import pytest

from devcluster import modules
from devservers_core.paths import Paths
from infra.deploy.local.stack import LocalStack
from infra.deploy.stack_runner import EngineLostError
from infra.local.context import Choice

SCRIPT = """#!/bin/sh
echo "$@" >> "$HOME/asked"
env | grep -E '^(PULUMI|HELM)_' > "$HOME/environment"
case "$1 $2" in
"stack ls") echo '[{"name": "local", "current": false}]';;
"stack output") echo '{}';;
"up "*) echo 'error: Resource monitor has terminated, shutting down' >&2; exit 255;;
esac
case "$0 $*" in *kubectl*" get "*) echo '{"items": [{"metadata": {"uid": "u"}}]}';; esac
"""


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStack:
    (tmp_path / "bin").mkdir()
    for name in ("pulumi", "pulumi-language-python", "kubectl"):  # these alone: a machine may have others, or none
        (tmp_path / "bin" / name).write_text(SCRIPT)
        (tmp_path / "bin" / name).chmod(0o755)
    path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
    monkeypatch.delenv("DEVSERVERS_TOOLS_DIR", raising=False)
    monkeypatch.setenv("PATH", path)
    env = {"HOME": str(tmp_path), "PATH": path, "HELM_CACHE_HOME": "/elsewhere"}
    return LocalStack(Choice(tmp_path / "kubeconfig", "kind-x", "a test"), Paths.of(env), env)


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text().splitlines()


def test_outputs_without_the_kubernetes_plugin_installs_it_once(stack: LocalStack, tmp_path: Path) -> None:
    install = f"plugin install resource kubernetes {modules.PULUMI_KUBERNETES}"
    stack.outputs()
    assert asked(tmp_path)[0] == f"{install} --non-interactive"
    (stack.home / "plugins" / f"resource-kubernetes-v{modules.PULUMI_KUBERNETES}").mkdir()
    stack.outputs()
    assert asked(tmp_path).count(f"{install} --non-interactive") == 1


def test_outputs_with_the_plugin_on_path_installs_none(stack: LocalStack, tmp_path: Path) -> None:
    (tmp_path / "bin" / "pulumi-resource-kubernetes").write_text(SCRIPT)
    (tmp_path / "bin" / "pulumi-resource-kubernetes").chmod(0o755)
    stack.outputs()
    assert not [line for line in asked(tmp_path) if line.startswith("plugin")]


def test_environment_of_pulumi_disables_plugin_downloads_and_moves_helm_s_folders(
    stack: LocalStack, tmp_path: Path
) -> None:
    stack.outputs()
    environment = dict(line.split("=", 1) for line in (tmp_path / "environment").read_text().splitlines())
    assert environment["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"
    for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"):
        assert Path(environment[name]).is_relative_to(stack.home)


def test_up_whose_program_loses_the_engine_is_tried_once_more(
    stack: LocalStack, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(EngineLostError, match="Resource monitor has terminated"):
        stack.up()
    assert len([line for line in asked(tmp_path) if line.startswith("up ")]) == 2
    assert "trying once more" in capfd.readouterr().err
