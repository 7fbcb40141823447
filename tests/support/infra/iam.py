"""IAM policy documents of a recorded graph, and their faults.

Actions are held against botocore's own list of a service's operations. An IAM action is mostly called as the operation
it allows; the few that are not stand in :data:`PERMISSIONS_ONLY`, with the reason.
"""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import botocore  # type: ignore[import-untyped]

from infra.preview.graph import Graph

SERVICES = {
    "elasticloadbalancing": ("elbv2", "elb"),
    "elasticfilesystem": ("efs",),
    "tag": ("resourcegroupstaggingapi",),
}
"""botocore's services of an IAM prefix, where they are not called alike (Service Authorization Reference)."""
_OTHERWISE = {service for services in SERVICES.values() for service in services}
PERMISSIONS_ONLY = {
    "sts:TagSession": "comes with AssumeRole that has tags",
    "kms:ReEncryptFrom": "ReEncrypt needs one of these on either key",
    "kms:ReEncryptTo": "ReEncrypt needs one of these on either key",
    "s3:ListBucket": "allows ListObjectsV2",
    "elasticfilesystem:ClientMount": "mounting is no call of the API",
    "elasticfilesystem:ClientWrite": "mounting is no call of the API",
    "elasticfilesystem:ClientRootAccess": "mounting is no call of the API",
}
"""Actions that are no operation, and why they are there."""
PERMISSIONS_ONLY |= {
    "backup-storage:MountCapsule": "a vault's storage is no API of its own",
    "iam:PassRole": "giving a role to a service is part of other calls",
    "budgets:ViewBudget": "all reading operations of AWS Budgets",
    "budgets:ModifyBudget": "all writing operations of AWS Budgets",
}
POLICIES = ("policy", "assumeRolePolicy", "inlinePolicy")
PINNED = ("aws:PrincipalArn", "aws:SourceAccount", "kms:CallerAccount", "elasticfilesystem:AccessedViaMountTarget")
"""Condition keys that say who `*` is. A mount target is in the VPC, behind its own security group."""
NO_GRANTS = {"LifecyclePolicy": "says what ECR deletes", "Policy boundary": "a limit, which grants nothing"}
"""Resources whose `policy` grants nobody anything, and why."""
DATA = Path(botocore.__file__).parent / "data"


@functools.cache
def operations(prefix: str) -> frozenset[str]:
    """The operations of the service with an IAM prefix; none when there is no such service."""
    found: set[str] = set()
    if prefix in _OTHERWISE:
        return frozenset()
    for service in SERVICES.get(prefix, (prefix,)):
        for file in sorted((DATA / service).glob("*/service-2.json*"))[-1:]:
            text = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
            found |= set(json.loads(text)["operations"])
    return frozenset(found)


def documents(graph: Graph) -> dict[str, dict[str, Any]]:
    """All policy documents of a graph, by the resource's type and name and the input."""
    return dict(_documents(graph))


def _documents(graph: Graph) -> Iterator[tuple[str, dict[str, Any]]]:
    for node in graph.values():
        if node.kind in NO_GRANTS or f"{node.kind} {node.name}" in NO_GRANTS:
            continue
        for key in POLICIES:
            value = node.inputs.get(key)
            if node.type.startswith("aws:") and value is not None:
                # Where a part of it is unknown the whole is, in a preview; what comes as text is JSON.
                yield f"{node.kind} {node.name}.{key}", json.loads(value) if isinstance(value, str) else value


def faults(document: Mapping[str, Any]) -> list[str]:
    """What is wrong with a document; nothing for one that may be used."""
    found = [] if document.get("Version") == "2012-10-17" else ["not the current version of the policy language"]
    for number, statement in enumerate(document["Statement"]):
        found += [f"statement {number}: {fault}" for fault in _of_statement(statement)]
    return found


def _of_statement(statement: Mapping[str, Any]) -> Iterator[str]:
    unknown = set(statement) - {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
    if unknown:
        yield f"keys nobody knows or that allow all but a few: {sorted(unknown)}"
    if statement["Effect"] not in ("Allow", "Deny"):
        yield f"effect {statement['Effect']}"
    if "Principal" not in statement and "Resource" not in statement:
        yield "neither a principal nor a resource"
    for action in many(statement["Action"]):
        yield from _of_action(action, statement)
    if "*" in principals(statement) and statement["Effect"] == "Allow" and not pinned(statement):
        yield "anybody may"


def _of_action(action: str, statement: Mapping[str, Any]) -> Iterator[str]:
    prefix, _, name = action.partition(":")
    if "*" in action or "?" in action:
        if "*" in many(statement.get("Resource", ())):
            yield f"{action} on every resource"
        elif statement["Effect"] == "Allow":
            yield f"{action} is not one action"
    elif action not in PERMISSIONS_ONLY and name not in operations(prefix):
        yield f"{action} does not exist"


def principals(statement: Mapping[str, Any]) -> set[str]:
    """Everybody a statement names."""
    principal = statement.get("Principal", {})
    if isinstance(principal, str):
        return {principal}
    return {each for value in principal.values() for each in many(value)}


def pinned(statement: Mapping[str, Any]) -> bool:
    """Whether its conditions say exactly who may."""
    conditions: Mapping[str, Mapping[str, Any]] = statement.get("Condition", {})
    return any(
        key in PINNED and "*" not in many(value)
        for operator, keys in conditions.items()
        if operator in ("StringEquals", "ArnEquals", "Bool")
        for key, value in keys.items()
    )


def many(value: Any) -> list[Any]:
    """One or several, as IAM has it, as a list."""
    return [value] if isinstance(value, str) else list(value)
