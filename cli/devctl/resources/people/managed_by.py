"""Which source of changes a user has: a stack, commands, or the sign-in."""

from __future__ import annotations

from devservers_core.errors import REFUSED, CommandError
from devservers_core.names import ANNOTATION_STACK, MANAGED_BY_COMMAND, MANAGED_BY_IDENTITY, MANAGED_BY_STACK
from devservers_core.types import Json


def manager(user: Json) -> str:
    """The user's spec.managedBy, "" for one that nobody claimed: commands may change them."""
    return str((user.get("spec") or {}).get("managedBy") or "")


def place(user: Json) -> str:
    """Where a user is edited, "" when that is `devctl user`."""
    stack = (user["metadata"].get("annotations") or {}).get(ANNOTATION_STACK) or "<stack>"
    return {
        MANAGED_BY_STACK: f"`users` in stacks/Pulumi.{stack}.yaml",
        MANAGED_BY_IDENTITY: "the groups of your identity provider",
    }.get(manager(user), "")


def ensure_managed_by_command(user: Json, doing: str, remedy: str = "") -> None:
    """Refuse a change by command of a user that another source manages.

    `doing` completes "devctl doesn't ..."; `remedy` follows the place to edit. Raises CommandError.
    """
    name = user["metadata"]["name"]
    if manager(user) not in (MANAGED_BY_STACK, MANAGED_BY_IDENTITY):
        return
    what = "a stack" if manager(user) == MANAGED_BY_STACK else "the sign-in"
    raise CommandError(f"{name} is managed by {what}; devctl doesn't {doing}", f"edit {place(user)}{remedy}", REFUSED)


def take_over_patch() -> Json:
    """The part of a patch of spec that makes a user the commands' own."""
    return {"managedBy": MANAGED_BY_COMMAND}
