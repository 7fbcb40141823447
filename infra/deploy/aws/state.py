"""Invariant: what Pulumi knows to be there is read from its own export, so nothing it made is forgotten.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Held:
    """One resource of a stack's state."""

    type: str
    name: str
    id: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    urn: str = ""
    protect: bool = False
    retain: bool = False


def held(export: Mapping[str, Any]) -> list[Held]:
    """The resources of `pulumi stack export`, those that are being deleted left out."""
    resources = (export.get("deployment") or {}).get("resources") or []
    return [
        Held(
            each["type"],
            str(each["urn"]).rpartition("::")[2],
            str(each.get("id") or ""),
            each.get("inputs") or {},
            each.get("outputs") or {},
            str(each["urn"]),
            bool(each.get("protect")),
            bool(each.get("retainOnDelete")),
        )
        for each in resources
        if not each.get("delete") and each.get("custom")
    ]


def of(resources: Iterable[Held], kind: str) -> list[Held]:
    """Those of a type, by name."""
    return sorted((each for each in resources if each.type == kind), key=lambda each: each.name)


def cluster_name(resources: Iterable[Held]) -> str:
    """The EKS cluster's name, "" when there is none."""
    found = of(resources, "aws:eks/cluster:Cluster")
    return str(found[0].outputs.get("name") or found[0].id) if found else ""
