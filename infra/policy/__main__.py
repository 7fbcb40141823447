"""The policy pack that Pulumi's engine runs, in a Python environment of its own."""

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# The engine puts this folder on the path; the rules are found from the checkout's root, as everywhere else.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
sys.path.append(str(HERE.parents[1]))

from pulumi_policy import (  # type: ignore[import-not-found]  # noqa: E402
    EnforcementLevel,
    PolicyPack,
    ResourceValidationPolicy,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError  # type: ignore[import-not-found]  # noqa: E402

from infra.policy.baseline import RULES  # noqa: E402
from infra.policy.rule import Rule  # noqa: E402
from infra.policy.subject import UNKNOWN, Stack, Subject, Value  # noqa: E402

LEVELS = {"mandatory": EnforcementLevel.MANDATORY, "advisory": EnforcementLevel.ADVISORY}


def plain(value: Value) -> Value:
    """A value without Pulumi's wrappers, which raise for unknown values."""
    if isinstance(value, Mapping):
        return {key: _known(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_known(value, position) for position in range(len(value))]
    return value


def _known(holder: Value, key: object) -> Value:
    try:
        return plain(holder[key])
    except UnknownValueError:
        return UNKNOWN


def subject(resource: Any, needs: frozenset[str] = frozenset()) -> Subject:  # noqa: ANN401
    """A resource of the engine's as rules see it."""
    inputs = plain(resource.props)
    return Subject(resource.resource_type, resource.name, inputs, resource.urn, bool(resource.opts.protect), needs)


def whole(resources: Sequence[Any]) -> Stack:
    """All of them, with what each depends on."""
    found = []
    for each in resources:
        needed = [*each.dependencies, *(one for some in each.property_dependencies.values() for one in some)]
        needed += [each.parent] if each.parent else []
        found.append(subject(each, frozenset(one.urn for one in needed)))
    return Stack(found)


def policies(rule: Rule) -> list[Any]:
    """A rule as one policy of each sort that it is."""
    made = []

    def said(message: str) -> str:
        return f"{message}\n  {rule.remedy}"

    if rule.check:
        each = rule.check

        def one(args: Any, report: Callable[..., None]) -> None:  # noqa: ANN401
            for message in each(subject(args)):
                report(said(message))

        made.append(ResourceValidationPolicy(rule.id, rule.text, one, LEVELS[rule.severity]))
    if rule.check_stack:
        every = rule.check_stack

        def all_(args: Any, report: Callable[..., None]) -> None:  # noqa: ANN401
            for found, message in every(whole(args.resources)):
                report(f"{found.type} {found.name}: {said(message)}", found.urn)

        made.append(StackValidationPolicy(rule.id, rule.text, all_, LEVELS[rule.severity]))
    return made


# The engine waits for a line with the plugin's port, which pulumi_policy writes and doesn't flush: without
# PYTHONUNBUFFERED in the environment a preview would wait for ever.
sys.stdout = io.TextIOWrapper(io.FileIO(1, "wb", closefd=False), write_through=True)
PolicyPack("devservers", [policy for rule in RULES for policy in policies(rule)], EnforcementLevel.MANDATORY)
