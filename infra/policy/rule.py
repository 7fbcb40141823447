"""The policy rule and its findings.

Invariant: a rule is a plain function from a resource, or from all of them, to sentences; it says what to do.

The same functions run in the simulated preview, in tests and under the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from infra.policy.subject import Stack, Subject

Severity = Literal["mandatory", "advisory"]
Each = Callable[[Subject], Iterable[str]]
Whole = Callable[[Stack], Iterable[tuple[Subject, str]]]


@dataclass(frozen=True)
class Rule:
    """One line of the security baseline. ``mandatory`` stops a preview and an update, ``advisory`` is shown."""

    id: str
    text: str
    remedy: str
    severity: Severity = "mandatory"
    each: Each | None = None
    whole: Whole | None = None


@dataclass(frozen=True)
class Finding:
    """A rule that a resource breaks."""

    rule: Rule
    type: str
    name: str
    message: str

    def __str__(self) -> str:
        where = f"{self.type} {self.name}" if self.name else "the stack"
        return f"{self.rule.severity} {self.rule.id}: {where}: {self.message}\n  {self.rule.remedy}"

    def record(self) -> dict[str, Any]:
        """For `-o json`."""
        rule = {"rule": self.rule.id, "severity": self.rule.severity, "remedy": self.rule.remedy}
        return rule | {"type": self.type, "name": self.name, "message": self.message}


def findings(rules: Sequence[Rule], subjects: Iterable[Subject]) -> list[Finding]:
    """What the rules say of a stack, mandatory first, then in the order of the rules and of the resources."""
    stack = Stack(subjects)
    found = [finding for rule in rules for finding in _of(rule, stack)]
    return sorted(found, key=lambda finding: finding.rule.severity != "mandatory")


def _of(rule: Rule, stack: Stack) -> Iterator[Finding]:
    if rule.each:
        for subject in stack.subjects:
            yield from (Finding(rule, subject.type, subject.name, message) for message in rule.each(subject))
    if rule.whole:
        for subject, message in rule.whole(stack):
            yield Finding(rule, subject.type, subject.name, message)
