"""A user's status says whether their namespace is there, and what is left of it after them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from devservers.api.user import DevServerUser
from devservers_core.types import Json

from .conditions import make_condition
from .events import Event

_SHOWN = 5


def observe(
    user: DevServerUser,
    uid: int | None,
    now: datetime,
    error: str | None = None,
    unknown_flavors: Sequence[str] = (),
) -> Json:
    """The whole status, camelCase; equal to the previous one when there is nothing to write.

    `uid` is None before one was given out; `error` is what kept the namespace from being set up, in one line;
    `unknown_flavors` are those of the person that don't exist.
    """
    phase, ok, reason, message = "Active", True, "Ready", f"The namespace {user.namespace} is set up."
    if error is not None or uid is None:
        phase, ok, reason = "Failed", False, "SetupFailed"
        message = f"The namespace isn't set up: {error or 'no uid was given out'}. It is tried again."
    elif user.spec.suspended:
        phase, ok, reason = "Suspended", False, "Suspended"
        message = "The keys are withdrawn and the servers stopped. Set spec.suspended to false to end that."
    generation = user.metadata.generation
    ready = make_condition(user.status.conditions, "Ready", ok, reason, message, generation=generation, now=now)
    conditions = [ready]
    if unknown_flavors:
        shown = _listed(unknown_flavors)
        words = (
            f"There is no flavor {shown}. Correct spec.flavors, or create it; `devctl flavors` lists those there are."
        )
        conditions.append(
            make_condition(
                user.status.conditions, "FlavorsFound", False, "FlavorNotFound", words, generation=generation, now=now
            )
        )
    known = {"uid": uid if uid is not None else user.status.uid}
    return {
        **{key: value for key, value in known.items() if value is not None},
        "namespace": user.namespace,
        "phase": phase,
        "conditions": conditions,
        "observedGeneration": generation,
    }


def previous_status(user: DevServerUser) -> Json:
    """The user's status as it stands, in the shape `observe` gives."""
    return user.status.to_dict()


def leftovers(namespace: str, claims: Sequence[Json]) -> Event:
    """The Event on a namespace that is kept after its user was deleted, naming the volume claims that
    keep it.
    """
    shown = _listed(sorted(str(claim["metadata"]["name"]) for claim in claims))
    return Event(
        "Normal",
        "NamespaceKept",
        f"The user is deleted; {namespace} stays because it holds volume claims: {shown}. "
        f"`kubectl delete namespace {namespace}` deletes them for good.",
    )


def _listed(names: Sequence[str]) -> str:
    """The first few of them."""
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
