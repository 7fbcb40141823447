"""The report of a simulated preview, as text or JSON.

Invariant: the report begins and ends with the word SIMULATED. Pure.

Its data is the report; why it was simulated goes to the person as a message.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from infra.cost import text
from infra.policy.baseline import RULES
from infra.policy.rule import Finding
from infra.preview import tree
from infra.preview.simulation import Simulation
from infra.preview.subjects import findings_in

HEADER = (
    "SIMULATED preview of stack {}: no AWS account and no cluster was asked; this is everything the stack would hold."
)
FOOTER = "SIMULATED: what is there already and what AWS would refuse is unknown; only `pulumi preview` can tell."


class Report:
    """What a simulated preview says about a stack."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.findings: list[Finding] = findings_in(simulation.graph)
        self.cost = simulation.cost

    @property
    def refused(self) -> bool:
        """Whether the engine would refuse it: a mandatory rule is broken."""
        return any(finding.rule.severity == "mandatory" for finding in self.findings)

    def text(self, whole: bool = True) -> str:
        """The report as text: cost and findings first, resources if `whole`."""
        return "\n".join([HEADER.format(self._simulation.stack), "", *self._body(whole), "", FOOTER])

    def record(self) -> dict[str, Any]:
        """For `-o json`."""
        graph = self._simulation.graph
        keys = {
            urn: {
                "type": node.type,
                "name": node.name,
                "component": graph[node.parent].name if node.parent in graph else "",
            }
            for urn, node in graph.items()
        }
        return {
            "simulated": True,
            "note": FOOTER,
            "stack": self._simulation.stack,
            "resources": [{**each, "protect": graph[urn].protect} for urn, each in sorted(keys.items())],
            "counts": tree.counts(graph),
            "findings": [finding.record() for finding in self.findings],
            "cost": self.cost.record() if self.cost else None,
            "outputs": list(self._simulation.outputs),
        }

    def _body(self, whole: bool) -> Iterator[str]:
        graph = self._simulation.graph
        counted = tree.counts(graph)
        if self.cost:
            yield from text.lines(self.cost)
            yield ""
        yield from self._policy()
        yield ""
        yield f"Counts: {sum(counted.values())} resources of {len(counted)} types"
        if whole:
            yield from (f"  {count:>4}  {kind}" for kind, count in counted.items())
            yield ""
            yield "Resources"
            yield from (f"  {line}" for line in tree.lines(graph))
        yield ""
        yield f"Outputs: {', '.join(self._simulation.outputs) or '(none)'}"

    def _policy(self) -> Iterator[str]:
        if not self.findings:
            yield f"Policy: {len(RULES)} rules of the security baseline, nothing found"
            return
        broken = len({finding.rule.id for finding in self.findings})
        yield f"Policy: {len(self.findings)} findings, {broken} of {len(RULES)} rules broken"
        for finding in self.findings:
            yield from (f"  {line}" for line in str(finding).splitlines())
