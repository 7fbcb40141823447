"""Reads the resources of a stack's state from `pulumi stack export`.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StateResource:
    """One resource of a stack's state."""

    type: str
    name: str
    id: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    urn: str = ""
    protect: bool = False
    retain: bool = False


def resources(export: Mapping[str, Any]) -> list[StateResource]:
    """The resources of `pulumi stack export`, those that are being deleted left out."""
    resources = (export.get("deployment") or {}).get("resources") or []
    return [
        StateResource(
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


def of_type(resources: Iterable[StateResource], kind: str) -> list[StateResource]:
    """Those of a type, by name."""
    return sorted((each for each in resources if each.type == kind), key=lambda each: each.name)


def cluster_name(resources: Iterable[StateResource]) -> str:
    """The EKS cluster's name, "" when there is none."""
    clusters = of_type(resources, "aws:eks/cluster:Cluster")
    return str(clusters[0].outputs.get("name") or clusters[0].id) if clusters else ""
