"""The import graph of every package has no circles."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("devservers_core", "devservers", "devctl", "infra", "devcluster", "bastion")


def circle(imports: dict[str, set[str]]) -> list[str]:
    """The modules of one import circle, in order; empty when there is none."""
    try:
        tuple(TopologicalSorter(imports).static_order())
    except CycleError as error:
        return list(error.args[1])
    return []


def test_circle_of_two_modules_is_reported() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert set(circle({"a": {"b"}, "b": {"a"}, "c": set()})) == {"a", "b"}


@pytest.mark.parametrize("package", PACKAGES)
def test_package_has_no_import_circle(package: str) -> None:
    """Imports for type checking and inside functions count: a reader follows them as well."""
    graph = grimp.build_graph(package, cache_dir=None)
    own = graph.modules
    assert circle({module: graph.find_modules_directly_imported_by(module) & own for module in own}) == []
