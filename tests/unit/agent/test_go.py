"""The agent's Go packages: format, vet and their own tests, by the toolchain's Go."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from devcluster import gotool
from devcluster.progress import Progress
from devservers_core.paths import current

AGENT = Path(__file__).parents[3] / "images" / "agent"


@pytest.fixture(scope="module")
def go_environment() -> dict[str, str]:
    paths = current()
    # Beside the toolchain's own cache, which is deleted when its last tool is built.
    return gotool.environment(paths, Progress()) | {"GOCACHE": str(paths.cache / "agent" / "go-build")}


COMMANDS = (("gofmt", "-l", "."), ("go", "vet", "./..."), ("go", "test", "./..."))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_agent_packages_pass(command: tuple[str, ...], go_environment: dict[str, str]) -> None:
    run = subprocess.run(
        command, cwd=AGENT, env=go_environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900
    )
    assert run.returncode == 0, run.stdout
    if command[0] == "gofmt":
        assert run.stdout == ""
