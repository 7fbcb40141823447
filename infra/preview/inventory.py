"""The inventory of a stack: one committed file that lists its resources.

Invariant: an inventory changes when what a stack makes changes, and for no other reason.

One committed file for each stack shows in review what an edit does to every environment: each resource with the inputs
that matter. Long texts are shown as a digest, so that a change in them is seen. No account, no path, no answer of AWS.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from infra import ROOT
from infra.policy.subject import decoded
from infra.preview import tree
from infra.preview.graph import Graph, Node
from infra.preview.simulation import Simulation, simulate
from infra.preview.stackfile import FOLDER, names, read

INVENTORIES = FOLDER / "inventory"
COMMAND = "make inventory"
MAX_VALUE_LENGTH = 160
_NOISE = re.compile(r"^$|^(tags|tagsAll|kubeconfig|.*\.(annotations|description))(\.|$)|__defaults|\.Version$")
"""Inputs that say nothing in a review: tags are the provider's, a kubeconfig is another one each time."""
_OF_OBJECTS = re.compile(
    r"(^(provisioner|parameters|reclaimPolicy|volumeBindingMode|allowVolumeExpansion|rules|roleRef|subjects|chart|version"
    r"|namespace|repositoryOpts|value|webhooks)(\.|\[|$))"
    r"|automountServiceAccountToken|securityContext|pod-security|\.image$|replicas$|serviceAccountName|hostNetwork|hostPID"
    r"|hostPath|policyTypes|ingress|egress|podSelector|maxUnavailable|minAvailable|\.resources\.|Policy$|validations"
    r"|^spec\.(quota|lifecycle|idle|workingHours)|nodeSelector|nominalQuota|borrowingLimit|cohort|flavors|reclaim|preemption|targetGroupARN|targetType|serviceRef"
)
"""Of Kubernetes objects, whose manifests are in this repository: who may do what, and how much of it."""
_SKIPPED = re.compile(r"^spec\.versions")
"""Schemas have their own generated files (operator/crds)."""


def path_of(stack: str) -> Path:
    """The committed inventory of a stack."""
    return INVENTORIES / f"{stack}.txt"


def text(simulation: Simulation) -> str:
    """The inventory of a stack."""
    graph = simulation.graph
    total = sum(tree.counts(graph).values())
    head = [
        f"# What stack {simulation.stack} makes: {total} resources. Written by `{COMMAND}`: review it, don't edit it.",
        f"# Outputs: {', '.join(simulation.outputs) or '(none)'}",
    ]
    body = "\n".join([*head, *(line for root in tree.roots(graph) for line in _below(graph, root, 0))]) + "\n"
    return without_noise(simulation, body)


def without_noise(simulation: Simulation, body: str) -> str:
    """A text without values that differ by account, machine or image content."""
    # The mocks answer from a region and an account of their own.
    hidden = {str(ROOT): ".", ":eu-central-1:111122223333:": ":ACCOUNT:", "111122223333": "ACCOUNT"}
    if simulation.settings.aws:
        hidden[simulation.settings.aws.account_id] = "ACCOUNT"
    for image in simulation.graph.of("Image"):
        hidden[image.name.rpartition("-")[2]] = "CONTENT"
    for found, shown in hidden.items():
        body = body.replace(found, shown)
    return body


def write() -> list[Path]:
    """Write the inventory of every stack anew; the files that changed."""
    INVENTORIES.mkdir(exist_ok=True)
    changed = []
    wanted = {path_of(stack): text(simulate(read(stack))) for stack in names()}
    for path, content in wanted.items():
        if not path.exists() or path.read_text() != content:
            path.write_text(content)
            changed.append(path)
    for path in set(INVENTORIES.glob("*.txt")) - set(wanted):
        path.unlink()
        changed.append(path)
    return changed


def _below(graph: Graph, parent: str, depth: int) -> Iterator[str]:
    for urn, node in tree.children(graph, parent).items():
        indent = "  " * depth
        if node.type.startswith(tree.COMPONENT_PREFIX):
            yield ""
        yield f"{indent}{node.type.removeprefix(tree.COMPONENT_PREFIX)} {node.name}{_options(node)}"
        yield from (f"{indent}    {key}: {value}" for key, value in inputs(node))
        yield from _below(graph, urn, depth + 1)


def _options(node: Node) -> str:
    options = [word for word, is_on in (("protected", node.protect), ("kept on destroy", node.retain)) if is_on]
    options += [f"ignores {', '.join(node.ignores)}"] if node.ignores else []
    return f" ({'; '.join(options)})" if options else ""


def inputs(node: Node) -> Iterator[tuple[str, str]]:
    """The inputs of a resource that matter, as path and text, in order of their paths."""
    kubernetes = node.type.startswith("kubernetes:")
    for key, value in _flat("", node.inputs):
        if _NOISE.search(key) or (kubernetes and (_SKIPPED.search(key) or not _OF_OBJECTS.search(key))):
            continue
        yield key, _shown(value)


def _flat(path: str, value: object) -> Iterator[tuple[str, object]]:
    """Values of a nested value by path; JSON is decoded, plain lists stay whole."""
    value = decoded(value)
    if isinstance(value, Mapping) and value:
        for key in sorted(value):
            yield from _flat(f"{path}.{key}" if path else str(key), value[key])
    elif isinstance(value, list) and any(isinstance(each, Mapping | list) for each in value):
        for position, each in enumerate(value):
            line = _one_line(each)
            yield from [(f"{path}[{position}]", line)] if line else _flat(f"{path}[{position}]", each)
    else:
        yield path, value


def _one_line(value: object) -> str:
    """A mapping of plain values as one line; "" for anything deeper or longer."""
    if not isinstance(value, Mapping) or any(isinstance(each, Mapping) for each in value.values()):
        return ""
    if any(isinstance(one, Mapping | list) for each in value.values() if isinstance(each, list) for one in each):
        return ""
    line = "; ".join(f"{key}={_shown(value[key])}" for key in sorted(value) if key != "description")
    return line if len(line) <= MAX_VALUE_LENGTH else ""


def _shown(value: object) -> str:
    if isinstance(value, list):
        # In full: which actions a policy allows is what a review is for.
        return ", ".join(_digested(_as_text(each)) or '""' for each in value) or "[]"
    return _digested(_as_text(value))


def _as_text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # A resource is given to a component as itself: its kind says what it is.
    return value if isinstance(value, str) else json.dumps(value, default=lambda each: f"a {type(each).__name__}")


def _digested(word: str) -> str:
    if len(word) <= MAX_VALUE_LENGTH and "\n" not in word:
        return word
    return f"({len(word)} characters, sha256 {hashlib.sha256(word.encode()).hexdigest()[:12]})"
