"""The component tree of a resource graph, as text.

Invariant: every resource of a graph is in its tree, or counted there, below the component that made it. Pure.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator

from infra.preview.graph import Graph, Node

COMPONENT_PREFIX = "devservers:"
WIDTH = 118
MAX_NAMES = 12
"""Names shown of one type in one component; the inventory and `-o json` have them all."""


def counts(graph: Graph) -> dict[str, int]:
    """How many resources there are of each type, components left out, by type."""
    found = Counter(node.type for node in graph.values() if not node.type.startswith(COMPONENT_PREFIX))
    return dict(sorted(found.items()))


def children(graph: Graph, parent: str) -> dict[str, Node]:
    """What is right below a URN, by URN: components last, each by type and name."""
    below = {urn: node for urn, node in graph.items() if node.parent == parent}
    return dict(
        sorted(below.items(), key=lambda item: (item[1].type.startswith(COMPONENT_PREFIX), item[1].type, item[1].name))
    )


def roots(graph: Graph) -> list[str]:
    """The parents of top-level resources: the stack's URN, or none."""
    return sorted({node.parent for node in graph.values() if node.parent not in graph})


def lines(graph: Graph) -> list[str]:
    """The tree: a line for each component, and for each type of resource in it."""
    return [line for root in roots(graph) for line in _below(graph, root, 0)]


def _below(graph: Graph, parent: str, depth: int) -> Iterator[str]:
    below = children(graph, parent)
    plain: dict[str, list[str]] = {}
    for urn, node in below.items():
        if not node.type.startswith(COMPONENT_PREFIX) and not children(graph, urn):
            plain.setdefault(node.type, []).append(node.name)
    for kind, names in plain.items():
        count = f" ({len(names)})" if len(names) > 1 else ""
        more = [f"and {len(names) - MAX_NAMES} more"] if len(names) > MAX_NAMES else []
        yield from _wrapped(f"{'  ' * depth}{kind}{count}: ", [*names[:MAX_NAMES], *more])
    for urn, node in below.items():
        if node.type.startswith(COMPONENT_PREFIX) or children(graph, urn):
            inside = sum(1 for _ in _inside(graph, urn))
            component = node.type.removeprefix(COMPONENT_PREFIX)
            yield f"{'  ' * depth}{component} {node.name}: {inside} resource{'s' * (inside != 1)}"
            yield from _below(graph, urn, depth + 1)


def _inside(graph: Graph, parent: str) -> Iterator[Node]:
    for urn, node in children(graph, parent).items():
        if not node.type.startswith(COMPONENT_PREFIX):
            yield node
        yield from _inside(graph, urn)


def _wrapped(head: str, names: list[str]) -> list[str]:
    indent = " " * (len(head) - len(head.lstrip()) + 4)
    return textwrap.wrap(
        head + ", ".join(names), WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
