"""A shared name is written in devservers_core.names only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from devservers_core import names

ROOT = Path(__file__).resolve().parents[3]
PARTS = ("core", "operator", "cli", "bastion", "infra", "devcluster")
NAMES = ROOT / "core/devservers_core/names.py"
ALIASES = {ROOT / "core/devservers_core/types.py"}


def modules() -> Iterator[Path]:
    return (path for part in PARTS for path in (ROOT / part).rglob("*.py") if path != NAMES)


def distinctive() -> dict[str, str]:
    """The values of names.py that nobody writes by accident: those with a dot or a dash, and prefixes in capitals."""
    return {
        value: name
        for name, value in vars(names).items()
        if name.isupper() and isinstance(value, str) and ("." in value or "-" in value or value.isupper())
    }


def constants(path: Path) -> Iterator[tuple[int, str]]:
    """Every string of a module with its line, docstrings left out."""
    tree = ast.parse(path.read_text())
    statements = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
    for each in ast.walk(tree):
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in statements:
            yield each.lineno, each.value


def test_names_copied_into_another_module_are_found() -> None:
    known = distinctive()
    copies = [
        f"{path.relative_to(ROOT)}:{line}: {value!r} is names.{known[value]}"
        for path in modules()
        for line, value in constants(path)
        if value in known
    ]
    assert copies == []


def test_types_of_a_json_object_are_found() -> None:
    copies = [
        f"{path.relative_to(ROOT)}:{each.lineno}: {ast.unparse(each)}"
        for path in modules()
        if path not in ALIASES
        for each in ast.parse(path.read_text()).body
        if isinstance(each, ast.Assign | ast.AnnAssign)
        and each.value is not None
        and ast.unparse(each.value) in ("dict[str, Any]", "Mapping[str, Any]")
    ]
    assert copies == []
