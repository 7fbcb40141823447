"""The status of a DevServerUser, and the Event about a namespace that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from devservers.api.user import DevServerUser
from devservers_core.types import Json

from .conditions import make_condition
from .events import Event

_MAX_NAMES = 5


def observe(
    user: DevServerUser,
    uid: int | None,
    now: datetime,
    error: str | None = None,
    unknown_flavors: Sequence[str] = (),
) -> Json:
    """The whole status, camelCase; equal to the previous one when there is nothing to write.

    `uid` is None before one is allocated; `error` is what kept the namespace from being set up, in one line;
    `unknown_flavors` are those in the spec that don't exist.
    """
    phase, ok, reason, message = "Active", True, "Ready", f"The namespace {user.namespace} is set up."
    if error is not None or uid is None:
        phase, ok, reason = "Failed", False, "SetupFailed"
        message = f"The namespace isn't set up: {error or 'no uid was allocated'}. The operator retries."
    elif user.spec.suspended:
        phase, ok, reason = "Suspended", False, "Suspended"
        message = (
            "The user's SSH keys are refused and their servers are stopped. Set spec.suspended to false to end this."
        )
    generation = user.metadata.generation
    ready = make_condition(user.status.conditions, "Ready", ok, reason, message, generation=generation, now=now)
    conditions = [ready]
    if unknown_flavors:
        names_text = _first_names(unknown_flavors)
        text = (
            f"There is no flavor {names_text}. Correct spec.flavors or create it. `devctl flavors` lists all flavors."
        )
        conditions.append(
            make_condition(
                user.status.conditions, "FlavorsFound", False, "FlavorNotFound", text, generation=generation, now=now
            )
        )
    optional = {"uid": uid if uid is not None else user.status.uid}
    return {
        **{key: value for key, value in optional.items() if value is not None},
        "namespace": user.namespace,
        "phase": phase,
        "conditions": conditions,
        "observedGeneration": generation,
    }


def previous_status(user: DevServerUser) -> Json:
    """The user's stored status, in the shape that `observe` returns."""
    return user.status.to_dict()


def namespace_kept_event(namespace: str, claims: Sequence[Json]) -> Event:
    """The Event on a namespace that is kept after its user was deleted; it names the volume claims."""
    names_text = _first_names(sorted(str(claim["metadata"]["name"]) for claim in claims))
    return Event(
        "Normal",
        "NamespaceKept",
        f"The user is deleted; {namespace} stays because it holds volume claims: {names_text}. "
        f"`kubectl delete namespace {namespace}` deletes them for good.",
    )


def _first_names(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    return ", ".join(names[:_MAX_NAMES]) + (f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else "")
