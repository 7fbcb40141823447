"""What an image's code imports is in the image: the standard library, copied folders, locked distributions."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.utils import canonicalize_name

from devcluster import ROOT

PLATFORM = {"sys_platform": "linux", "os_name": "posix", "platform_system": "Linux"}
LOCK: list[dict[str, Any]] = tomllib.loads((ROOT / "uv.lock").read_text())["package"]


@pytest.mark.parametrize("dockerfile", ["bastion/Dockerfile", "operator/Dockerfile"])
def test_image_holds_every_package_that_its_code_imports(dockerfile: str) -> None:
    text = (ROOT / dockerfile).read_text()
    folders = [ROOT / source for source in re.findall(r"^COPY (?!--)(\S+) /opt/\S+$", text, re.M)]
    assert folders
    copied = {folder.name for folder in folders}
    locked = installed(text)
    of_module = packages_distributions()
    missing = {
        f"{path.relative_to(ROOT)} imports {module}"
        for folder in folders
        for path in folder.rglob("*.py")
        for module in imports(path)
        if module not in sys.stdlib_module_names
        and module not in copied
        and not {canonicalize_name(name) for name in of_module.get(module, [])} & locked
    }
    assert not missing


def test_bastion_image_takes_cryptography_from_the_lock() -> None:
    text = (ROOT / "bastion/Dockerfile").read_text()
    assert "cryptography" in installed(text)
    assert "python3-cryptography" not in text
    assert ".pth" not in text


def imports(path: Path) -> Iterator[str]:
    """The top-level packages that a module imports, also within functions, but not for type checkers alone."""

    def visit(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).partition(".")[0]
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    return visit(ast.parse(path.read_text()))


def installed(dockerfile: str) -> set[str]:
    """The distributions that the Dockerfile's `uv sync` installs from uv.lock."""
    (command,) = re.findall(r"uv sync (.*)$", dockerfile, re.M)
    assert "--frozen" in command
    assert "--no-dev" in command
    named = re.search(r"--package (\S+)", command)
    root = _package(named[1] if named else "devservers")
    wanted = [*root["dependencies"]]
    for group in re.findall(r"--group (\S+)", command):
        wanted += root["dev-dependencies"][group]
    found: set[str] = set()
    while wanted:
        dependency = wanted.pop()
        if "marker" in dependency and not Marker(dependency["marker"]).evaluate(PLATFORM):
            continue
        package = _package(dependency["name"])
        for extra in dependency.get("extra", ()):
            wanted += package["optional-dependencies"][extra]
        if package["name"] not in found:
            found.add(package["name"])
            wanted += package.get("dependencies", [])
    return found


def _package(name: str) -> dict[str, Any]:
    return next(package for package in LOCK if package["name"] == name)
