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
ResourceCheck = Callable[[Subject], Iterable[str]]
StackCheck = Callable[[Stack], Iterable[tuple[Subject, str]]]


@dataclass(frozen=True)
class Rule:
    """One rule of the security baseline.

    ``mandatory`` stops a preview and an update, ``advisory`` is shown.
    """

    id: str
    text: str
    remedy: str
    severity: Severity = "mandatory"
    check: ResourceCheck | None = None
    check_stack: StackCheck | None = None


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
    """The rules' findings in a stack: mandatory first, then in the rules' order."""
    stack = Stack(subjects)
    found = [finding for rule in rules for finding in _of(rule, stack)]
    return sorted(found, key=lambda finding: finding.rule.severity != "mandatory")


def _of(rule: Rule, stack: Stack) -> Iterator[Finding]:
    if rule.check:
        for subject in stack.subjects:
            yield from (Finding(rule, subject.type, subject.name, message) for message in rule.check(subject))
    if rule.check_stack:
        for subject, message in rule.check_stack(stack):
            yield Finding(rule, subject.type, subject.name, message)
