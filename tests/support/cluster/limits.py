"""Limits of a user for tests, and waits for Kubernetes' quota controller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devservers_core.types import Json
from tests.support.cluster.client import Client
from tests.support.cluster.operator_process import OperatorProcess, World
from tests.support.wait import eventually

LIMITS: dict[str, Any] = {"quota_storage": "50Gi", "quota_servers": 3, "quota_claim": "30Gi"}
KNOWN_SECONDS = 60.0
"""Until the quota controller knows a kind that was only just installed."""


def claim_of(user: str, name: str, size: str) -> Json:
    """A volume claim made by hand."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": f"dev-{user}"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }


def person_of(operator: OperatorProcess, user: str) -> Client:
    """A client with the rights of a person."""
    return operator.server.client_for(*operator.server.service_account(f"dev-{user}", "devctl"))


def quota_when(world: World, user: str, check: Callable[[Json], bool], what: str) -> Json:
    """The user's ResourceQuota once check holds."""

    def checked() -> Json | None:
        found = world.child("ResourceQuota", user, "dev-user")
        return found if found is not None and check(found) else None

    return eventually(checked, what, KNOWN_SECONDS, report=lambda: world.child("ResourceQuota", user, "dev-user"))


def counted(world: World, user: str) -> Json:
    """The person's limits, once Kubernetes counts all of them."""

    def in_force(quota: Json) -> bool:
        hard = quota["spec"]["hard"]
        return "requests.storage" in hard and (quota.get("status") or {}).get("hard") == hard

    return dict(quota_when(world, user, in_force, f"the quota of {user} in force")["spec"]["hard"])
