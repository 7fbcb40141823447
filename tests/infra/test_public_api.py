"""What infra uses of Pulumi's SDK: public API and the published protocol only."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pulumi
import pytest

from infra import ROOT

FILES = sorted(file for file in (ROOT / "infra").rglob("*.py") if ".venv" not in file.parts)
PROTOCOL = "pulumi.runtime.proto"
DOTTED = re.compile(r"pulumi(\.\w+)+")


def uses(tree: ast.AST) -> Iterator[str]:
    """Dotted names of the SDK that a module imports, reads or patches: `pulumi.runtime.configure`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "pulumi":
            yield from (f"{node.module}.{each.name}" for each in node.names)
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.startswith("pulumi."))
        if isinstance(node, ast.Attribute) and DOTTED.fullmatch(ast.unparse(node)):
            yield ast.unparse(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and DOTTED.fullmatch(node.value):
            yield node.value


def public(name: str) -> bool:
    """Whether a dotted name is in `__all__` all the way down; a class's own members need no underscore."""
    if name.startswith(PROTOCOL):
        return True
    holder: object = pulumi
    for part in name.split(".")[1:]:
        exported = getattr(holder, "__all__", None)
        if part.startswith("_") or (exported is not None and part not in exported and part != "runtime"):
            return False
        holder = getattr(holder, part, None)
    return True


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(ROOT)) for file in FILES])
def test_infra_uses_public_api_of_pulumi_only(file: Path) -> None:
    private = {name for name in uses(ast.parse(file.read_text())) if not public(name)}
    assert not private


@pytest.mark.parametrize(
    "source",
    [
        "from pulumi.runtime import mocks",
        "import pulumi\npulumi.runtime.config.CONFIG.get()",
        "patch('pulumi.resource_hooks.register_error_hook')",
        "pulumi.runtime.stack.run_in_stack",
    ],
)
def test_private_api_of_pulumi_is_found(source: str) -> None:
    assert not all(public(name) for name in uses(ast.parse(source)))
