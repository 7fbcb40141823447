"""Applies the policy rules to a recorded resource graph.

Invariant: a recorded graph is checked by the same rules as the engine's resources.
"""

from __future__ import annotations

from infra.policy.baseline import RULES
from infra.policy.rule import Finding, findings
from infra.policy.subject import Subject
from infra.preview.graph import Graph


def subjects(graph: Graph) -> list[Subject]:
    """The resources of a graph as rules see them."""
    return [
        Subject(node.type, node.name, node.inputs, urn, node.protect, frozenset(node.needs))
        for urn, node in graph.items()
    ]


def findings_in(graph: Graph) -> list[Finding]:
    """The security baseline's findings in a graph."""
    return findings(RULES, subjects(graph))
