"""Reads and writes a user's set-up: the ConfigMap of theirs, and that with their administrator's default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devctl.output.errors import from_api
from devservers_core.client.paths import core_path
from devservers_core.errors import FAILURE, ApiError, CommandError
from devservers_core.names import SETUP, SETUP_BRANCH, SETUP_DEFAULT, SETUP_DOTFILES, SETUP_SCRIPT

if TYPE_CHECKING:
    from devctl.context import Context

ENTRIES = (SETUP_DOTFILES, SETUP_BRANCH, SETUP_SCRIPT)
_WHAT = "your set-up"


@dataclass(frozen=True)
class Setup:
    """The entries of a user's own set-up, and the repository that holds without one of theirs."""

    own: Mapping[str, str]
    default: str | None

    @property
    def dotfiles(self) -> str | None:
        """The repository that their servers clone; an empty one of their own is none."""
        return self.own.get(SETUP_DOTFILES, self.default) or None


def read_setup(context: Context) -> Setup:
    """The set-up as it is. Raises CommandError."""
    try:
        own = context.kube.get(core_path(context.namespace, "configmaps", SETUP))
    except ApiError as error:
        if error.status == 404:
            what = f"{context.namespace} is not ready for a set-up"
            remedy = "try again in a minute; if it goes on, tell an administrator"
            raise CommandError(what, remedy, FAILURE) from None
        raise from_api(error, f"read {_WHAT}") from None
    try:
        default = context.kube.get(core_path(context.namespace, "configmaps", SETUP_DEFAULT))
    except ApiError as error:
        if error.status != 404:
            raise from_api(error, f"read {_WHAT}") from None
        default = {}
    entries = {name: str(text) for name, text in (own.get("data") or {}).items() if name in ENTRIES}
    return Setup(entries, (default.get("data") or {}).get(SETUP_DOTFILES))


def write_setup(context: Context, changes: Mapping[str, str | None]) -> None:
    """Change entries of the user's own set-up; None removes one. Raises CommandError."""
    try:
        context.kube.patch(core_path(context.namespace, "configmaps", SETUP), {"data": dict(changes)})
    except ApiError as error:
        raise from_api(error, f"keep {_WHAT}") from None
