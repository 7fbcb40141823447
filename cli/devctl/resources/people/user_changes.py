"""Applies changes to DevServerUsers, each against the version it was read at."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from devctl.output.errors import from_api
from devservers_core.client.paths import user_path
from devservers_core.errors import NOT_FOUND, ApiError, CommandError
from devservers_core.types import Json

if TYPE_CHECKING:
    from devctl.context import Context

MAX_ATTEMPTS = 4
"""Tries to write, when somebody else changes the same user at the same time."""
STRICT = {"fieldValidation": "Strict"}
"""Has the API server refuse a field that it doesn't know, which it would else leave out without a word."""


def read_user(context: Context, name: str) -> Json:
    """Read a user. Raises CommandError when there is none."""
    try:
        return context.kube.get(user_path(name))
    except ApiError as error:
        raise user_refusal(error, name, "read") from None


def change_user(
    context: Context, name: str, patch_of: Callable[[Json], Json | None], *, dry_run: bool = False
) -> tuple[Json, Json | None]:
    """Patch a user's spec with what `patch_of` makes of the user as it is now; None changes nothing.

    It is asked again when somebody changed the user in between, so neither change is lost. Returns the user as it was
    before and the patch. Raises CommandError.
    """
    for attempt in range(MAX_ATTEMPTS):
        user = read_user(context, name)
        patch = patch_of(user)
        if patch is None:
            return user, None
        body = {"metadata": {"resourceVersion": user["metadata"]["resourceVersion"]}, "spec": patch}
        try:
            context.kube.patch(user_path(name), body, **STRICT, **({"dryRun": "All"} if dry_run else {}))
        except ApiError as error:
            if error.status != 409:
                raise user_refusal(error, name, "change") from None
            if attempt == MAX_ATTEMPTS - 1:
                break
        else:
            return user, patch
    raise CommandError(f"somebody else keeps changing {name}", "look at them with `devctl user show`, then try again")


def user_refusal(error: ApiError, name: str, doing: str) -> CommandError:
    """Explain the API server's refusal of a request about a user."""
    if error.status == 404:
        return CommandError(f"there is no user {name[:80]}", "`devctl user list` shows all", NOT_FOUND)
    if error.status == 400 and "unknown field" in error.message:
        what = f"the platform doesn't know a field of this change of {name}: {error.message}"
        return CommandError(what, "update the platform, or leave the field out")
    return from_api(error, f"{doing} {name}")
