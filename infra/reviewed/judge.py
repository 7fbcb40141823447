"""Selectors, taints and tolerations as Kubernetes matches them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from infra.policy.subject import Value, at
from infra.reviewed.entry import DaemonSet, DaemonSetDecision, Selector, Webhook

Labels = Mapping[str, str]


def matches(selector: Selector, labels: Labels) -> bool:
    """Whether a LabelSelector matches; an empty one matches everything."""
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    equal = all(labels.get(key) == value for key, value in wanted.items())
    return equal and all(holds(each, labels) for each in selector.get("matchExpressions") or ())


def holds(expression: Mapping[str, Any], labels: Labels) -> bool:
    """Whether one requirement holds. Gt and Lt, which none of the components uses, are a ValueError."""
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or ()
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    raise ValueError(f"operator {operator} of key {key} is not known here\n  add it to infra/reviewed/judge.py")


def sees(webhook: Webhook, namespace: Labels, labels: Labels) -> bool:
    """Whether a webhook is asked about an object with these labels in such a namespace."""
    return matches(webhook.namespaces, namespace) and matches(webhook.objects, labels)


def tolerated(taint: Mapping[str, str], tolerations: Iterable[Mapping[str, Any]]) -> bool:
    """Whether one of the tolerations lets a pod onto a node with this taint."""
    return any(_tolerates(each, taint) for each in tolerations)


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, str]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    exists = toleration.get("operator") == "Exists"
    if not toleration.get("key"):
        return exists
    return toleration["key"] == taint["key"] and (exists or toleration.get("value", "") == taint.get("value", ""))


def configured(daemonset: DaemonSet, decision: DaemonSetDecision, values: Mapping[str, Any]) -> DaemonSet:
    """A DaemonSet as it is with a configuration of ours."""
    changes: dict[str, Any] = {}
    if (tolerations := _at(values, decision.tolerations_at)) is not None:
        changes["tolerations"] = list(tolerations)
    if (tolerations := _at(values, decision.more_tolerations_at)) is not None:
        changes["tolerations"] = [*daemonset.tolerations, *tolerations]
    if _at(values, decision.all_taints_at) is True:
        changes["tolerations"] = [{"operator": "Exists"}]
    if (affinity := _at(values, decision.affinity_at)) is not None:
        changes["affinity"] = terms(affinity)
    if (labels := _at(values, decision.labels_at)) is not None:
        changes["affinity"] = [[{"key": key, "operator": "In", "values": labels["values"]}] for key in labels["keys"]]
    return daemonset.model_copy(update=changes)


def _at(values: Mapping[str, Any], path: str) -> Value:
    return at(values, path) if path else None


def terms(affinity: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """The terms of a pod's affinity that a node must meet one of."""
    required = at(affinity, "nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms")
    return [list(term.get("matchExpressions") or ()) for term in required or ()]


def refuses(daemonset: DaemonSet, node: Labels, taints: Sequence[Mapping[str, str]]) -> list[str]:
    """Why a DaemonSet has no pod on a node, or nothing."""
    problems = [
        f"does not tolerate {taint['key']}={taint.get('value', '')}:{taint['effect']}"
        for taint in taints
        if not tolerated(taint, daemonset.tolerations)
    ]
    problems += [f"wants {key}={value}" for key, value in daemonset.node_selector.items() if node.get(key) != value]
    if daemonset.affinity and not any(all(holds(each, node) for each in term) for term in daemonset.affinity):
        problems.append("its node affinity leaves the node out")
    return problems
