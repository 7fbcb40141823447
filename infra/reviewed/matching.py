"""Matching of label selectors, node affinity, taints and tolerations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from infra.policy.subject import Value, at
from infra.reviewed.entry import DaemonSet, DaemonSetDecision, Selector, Webhook

Labels = Mapping[str, str]


def selector_matches(selector: Selector, labels: Labels) -> bool:
    """Whether a LabelSelector matches; an empty one matches everything."""
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    equal = all(labels.get(key) == value for key, value in wanted.items())
    return equal and all(requirement_matches(each, labels) for each in selector.get("matchExpressions") or ())


def requirement_matches(expression: Mapping[str, Any], labels: Labels) -> bool:
    """Whether labels meet one requirement.

    Gt and Lt, which no component uses, raise a ValueError.
    """
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or ()
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    raise ValueError(f"operator {operator} of key {key} is not known here\n  add it to infra/reviewed/matching.py")


def webhook_matches(webhook: Webhook, namespace: Labels, labels: Labels) -> bool:
    """Whether a webhook is called for an object, by its and its namespace's labels."""
    return selector_matches(webhook.namespaces, namespace) and selector_matches(webhook.objects, labels)


def tolerates(taint: Mapping[str, str], tolerations: Iterable[Mapping[str, Any]]) -> bool:
    """Whether one of the tolerations matches a taint."""
    return any(_toleration_matches(each, taint) for each in tolerations)


def _toleration_matches(toleration: Mapping[str, Any], taint: Mapping[str, str]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    exists = toleration.get("operator") == "Exists"
    if not toleration.get("key"):
        return exists
    return toleration["key"] == taint["key"] and (exists or toleration.get("value", "") == taint.get("value", ""))


def with_values(daemonset: DaemonSet, decision: DaemonSetDecision, values: Mapping[str, Any]) -> DaemonSet:
    """A DaemonSet as the configuration of its add-on or chart makes it."""
    changes: dict[str, Any] = {}
    if (tolerations := _at(values, decision.tolerations_at)) is not None:
        changes["tolerations"] = list(tolerations)
    if (tolerations := _at(values, decision.more_tolerations_at)) is not None:
        changes["tolerations"] = [*daemonset.tolerations, *tolerations]
    if _at(values, decision.all_taints_at) is True:
        changes["tolerations"] = [{"operator": "Exists"}]
    if (affinity := _at(values, decision.affinity_at)) is not None:
        changes["affinity"] = required_node_terms(affinity)
    if (labels := _at(values, decision.labels_at)) is not None:
        changes["affinity"] = [[{"key": key, "operator": "In", "values": labels["values"]}] for key in labels["keys"]]
    return daemonset.model_copy(update=changes)


def _at(values: Mapping[str, Any], path: str) -> Value:
    return at(values, path) if path else None


def required_node_terms(affinity: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """The node selector terms of a required node affinity."""
    required = at(affinity, "nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms")
    return [list(term.get("matchExpressions") or ()) for term in required or ()]


def scheduling_problems(daemonset: DaemonSet, node: Labels, taints: Sequence[Mapping[str, str]]) -> list[str]:
    """Why a DaemonSet has no pod on a node; empty when it has one."""
    problems = [
        f"does not tolerate {taint['key']}={taint.get('value', '')}:{taint['effect']}"
        for taint in taints
        if not tolerates(taint, daemonset.tolerations)
    ]
    problems += [f"wants {key}={value}" for key, value in daemonset.node_selector.items() if node.get(key) != value]
    if daemonset.affinity and not any(
        all(requirement_matches(each, node) for each in term) for term in daemonset.affinity
    ):
        problems.append("its node affinity leaves the node out")
    return problems
