"""Tests the wheel that users install."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from devcluster import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_installs_devctl_and_core_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = {name.partition("/")[0] for name in content.namelist()}
        (metadata,) = (name for name in names if name.endswith(".dist-info"))
        scripts = content.read(f"{metadata}/entry_points.txt").decode().split("\n")
    assert names == {"devctl", "devservers_core", metadata}
    assert [line for line in scripts if line] == ["[console_scripts]", "devctl = devctl.__main__:main"]


def test_wheel_in_its_declared_environment_runs(wheel: Path, tmp_path: Path) -> None:
    """As `uv tool install` has it: an environment of its own, with the wheel's requirements."""
    with zipfile.ZipFile(wheel) as content:
        content.extractall(tmp_path)
    for name in _requirements("devservers"):
        for file in distribution(name).files or []:
            top = file.parts[0]
            if top != ".." and not (tmp_path / top).exists():
                (tmp_path / top).symlink_to(str(distribution(name).locate_file(top)))
    assert not (tmp_path / "kubernetes").exists()
    assert (tmp_path / "typer").exists()
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from devctl.__main__ import main; main()"
    for arguments, words in ((["--help"], "create"), (["version"], "devctl 0."), (["create", "--help"], "--flavor")):
        command = [sys.executable, "-I", "-S", "-c", script, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={"HOME": str(tmp_path)})
        assert done.returncode == 0, done
        assert words in done.stdout, done


def _requirements(name: str) -> set[str]:
    """Every distribution that one needs, without its extras."""
    found, todo = set[str](), [name]
    while todo:
        for requirement in map(Requirement, distribution(todo.pop()).requires or []):
            wanted = not requirement.marker or requirement.marker.evaluate({"extra": ""})
            if wanted and requirement.name not in found:
                found.add(requirement.name)
                todo.append(requirement.name)
    return found
