"""Conditions about a server's volumes: the home's size, claims being deleted.

A home of the requested size, and volumes that stay, have no condition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from devservers.api.conditions import find
from devservers.api.devserver import DevServer
from devservers_core.quantity import canonical, parse_quantity, quantity_or_zero
from devservers_core.types import Json

from .pods import status


@dataclass(frozen=True, slots=True)
class HomeSizeState:
    """The condition's status, reason and message."""

    ok: bool
    reason: str
    message: str


def home_size_state(server: DevServer, claim: Json | None, error: str | None) -> HomeSizeState | None:
    """How far the home has the requested size, None when there is nothing to report.

    `error` is the API server's refusal of the growth, as of a storage class that can't expand volumes.
    """
    desired_size = server.spec.persistent_home_size
    if desired_size is None or claim is None:
        return None
    size = canonical(desired_size)
    requested = _storage((claim.get("spec") or {}).get("resources", {}).get("requests"))
    capacity = _storage(status(claim).get("capacity"))
    if requested is None:
        return None
    desired_bytes, requested_bytes = parse_quantity(size), parse_quantity(requested)
    if desired_bytes < requested_bytes:
        return HomeSizeState(
            False,
            "ShrinkRefused",
            f"The home has {requested} and a volume can't be made smaller. Set persistentHomeSize to "
            f"{requested}, or move the files to a server with a smaller home.",
        )
    if desired_bytes > requested_bytes and error is not None:
        cause = " ".join(error.split()).rstrip(".")[:300]
        return HomeSizeState(
            False,
            "NotExpandable",
            f"The home stays at {requested}: the cluster refuses to make it {size} ({cause}). Set "
            f"persistentHomeSize to {requested}, or ask an administrator for a storage class that can grow.",
        )
    if desired_bytes > requested_bytes or (capacity is not None and parse_quantity(capacity) < requested_bytes):
        return HomeSizeState(False, "Resizing", f"The home is being resized to {size}. The server keeps running.")
    if find(server.status.conditions, "HomeResized") is not None:
        return HomeSizeState(True, "Resized", f"The home has {requested}.")
    return None


def deletion_message(claims: Sequence[str], home_claim: Json | None) -> str | None:
    """The message of VolumeDeleting, None when no mounted claim is being deleted.

    The data can be copied as long as the pod runs: Kubernetes deletes a claim when the last pod that uses it ends.
    """
    if not claims:
        return None
    home = home_claim["metadata"]["name"] if home_claim else None
    names = [f"the home (volume claim {home})" if claim == home else f"the volume claim {claim}" for claim in claims]
    subject, verb = " and ".join(names), "is" if len(names) == 1 else "are"
    return (
        f"{subject[0].upper()}{subject[1:]} {verb} being deleted: all files in it are lost as soon as this server "
        "stops or restarts. Copy what you need now (`scp`, `rsync`)."
    )


def claim_size(claim: Json) -> tuple[Decimal, Decimal]:
    """The size that a claim asks for and the one it has, in bytes, to compare claims by."""
    requested = _storage((claim.get("spec") or {}).get("resources", {}).get("requests"))
    capacity = _storage(status(claim).get("capacity"))
    return quantity_or_zero(requested), quantity_or_zero(capacity)


def _storage(amounts: Json | None) -> str | None:
    amount = (amounts or {}).get("storage")
    return canonical(str(amount)) if amount is not None else None
