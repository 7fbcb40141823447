"""The distributions as people install them, in empty environments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from devcluster import ROOT
from devcluster.toolchain import find_uv
from devservers_core.paths import current
from devservers_core.version import __version__

FOREIGN = ("kopf", "kubernetes", "pulumi", "pydantic", "cryptography", "infra", "bastion", "devcluster", "devservers")
"""What a laptop that runs devctl has no use for."""


def uv(*arguments: str, folder: Path = Path("/"), **variables: str) -> None:
    """Run uv with the machine's own Python."""
    program = find_uv(os.environ.get("PATH"), current())
    assert program is not None
    env = os.environ | {"UV_PYTHON_DOWNLOADS": "never", "UV_PYTHON": sys.executable} | variables
    done = subprocess.run([program, *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of all distributions."""
    folder = tmp_path_factory.mktemp("wheels")
    for project in (ROOT, ROOT / "operator"):
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        subprocess.run(command, cwd=project, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file that holds every requirement at the version of uv.lock: what others release today breaks no test."""
    file = str(tmp_path_factory.mktemp("locked") / "constraints.txt")
    export = ("--quiet", "--frozen", "--all-packages", "--all-groups", "--no-emit-workspace", "--no-hashes")
    uv("export", *export, "--output-file", file, folder=ROOT)
    return file


def run(program: Path, *arguments: str) -> str:
    """The output of a program with nothing in its environment."""
    done = subprocess.run([program, *arguments], cwd="/", env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_uv_tool_install_of_the_wheel_gives_devctl_and_nothing_of_the_platform(
    wheels: Path, locked: str, tmp_path: Path
) -> None:
    (wheel,) = wheels.glob("devservers-*.whl")
    uv(
        "tool",
        "install",
        str(wheel),
        "--constraints",
        locked,
        UV_TOOL_DIR=str(tmp_path / "tools"),
        UV_TOOL_BIN_DIR=str(tmp_path / "bin"),
    )
    assert [each.name for each in (tmp_path / "bin").iterdir()] == ["devctl"]
    assert run(tmp_path / "bin" / "devctl", "version") == f"devctl {__version__}\n"
    assert "create" in run(tmp_path / "bin" / "devctl", "--help")
    code = f"from importlib.util import find_spec; print([name for name in {FOREIGN!r} if find_spec(name)])"
    assert run(tmp_path / "tools" / "devservers" / "bin" / "python", "-I", "-c", code) == "[]\n"


def test_operator_wheel_installs_with_its_requirements_into_an_empty_environment(
    wheels: Path, locked: str, tmp_path: Path
) -> None:
    environment = tmp_path / "operator"
    uv("venv", "--quiet", str(environment))
    python = environment / "bin" / "python"
    uv(
        "pip",
        "install",
        "--quiet",
        "--python",
        str(python),
        "--constraints",
        locked,
        "--find-links",
        str(wheels),
        "devservers-operator",
    )
    code = "import devservers.runtime.main, devservers.runtime.operator; from importlib.metadata import version; "
    assert run(python, "-I", "-c", code + "print(version('devservers-operator'))") == f"{__version__}\n"
