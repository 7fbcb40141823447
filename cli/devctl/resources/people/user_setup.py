"""Reads and writes a user's set-up: the ConfigMap of theirs, and that with their administrator's default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devctl.output.errors import from_api
from devservers_core.client.paths import core_path
from devservers_core.errors import FAILURE, ApiError, CommandError
from devservers_core.names import SETUP, SETUP_BRANCH, SETUP_DEFAULT, SETUP_DOTFILES, SETUP_SCRIPT, SETUP_SECRETS
from devservers_core.setup_secrets import in_force, parse_lines, target

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json

ENTRIES = (SETUP_DOTFILES, SETUP_BRANCH, SETUP_SCRIPT, SETUP_SECRETS)
_WHAT = "your set-up"
_OF_SERVER = "server"
_OF_ADMINISTRATOR = " (from your administrator)"


@dataclass(frozen=True)
class Setup:
    """The entries of a user's own set-up, and those that hold without one of theirs."""

    own: Mapping[str, str]
    default_entries: Mapping[str, str]

    @property
    def default(self) -> str | None:
        """The repository that their administrator gives them."""
        return self.default_entries.get(SETUP_DOTFILES)

    @property
    def secrets(self) -> list[Json]:
        """The references to secrets of their own set-up."""
        return parse_lines(self.own.get(SETUP_SECRETS, ""))[0]

    @property
    def default_secrets(self) -> list[Json]:
        """The references to secrets that their administrator gives them."""
        return parse_lines(self.default_entries.get(SETUP_SECRETS, ""))[0]

    @property
    def dotfiles(self) -> str | None:
        """The repository that their servers clone; an empty one of their own is none."""
        return self.own.get(SETUP_DOTFILES, self.default) or None

    def all_secrets(self, server: Json | None = None) -> list[tuple[Json, str]]:
        """What both add to a server's own references, each with a note on who gives it."""
        spec: Json = (server or {}).get("spec") or {}
        own = [(reference, _OF_SERVER) for reference in spec.get("secrets") or []]
        theirs = [(reference, _OF_ADMINISTRATOR) for reference in self.default_secrets]
        variables = {str(variable["name"]) for variable in spec.get("env") or []}
        given = in_force(own, [(each, "") for each in self.secrets], theirs, variables, lambda pair: target(pair[0]))
        return [(reference, giver) for reference, giver in given if giver != _OF_SERVER]


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
    return Setup(_entries(own), _entries(default))


def setup_secrets(context: Context, server: Json | None = None) -> list[Json]:
    """The references to secrets that the set-up adds to a server's own; none where the set-up can't be read."""
    try:
        return [reference for reference, _ in read_setup(context).all_secrets(server)]
    except CommandError:
        return []


def _entries(config_map: Json) -> dict[str, str]:
    return {name: str(text) for name, text in (config_map.get("data") or {}).items() if name in ENTRIES}


def write_setup(context: Context, changes: Mapping[str, str | None]) -> None:
    """Change entries of the user's own set-up; None removes one. Raises CommandError."""
    try:
        context.kube.patch(core_path(context.namespace, "configmaps", SETUP), {"data": dict(changes)})
    except ApiError as error:
        raise from_api(error, f"keep {_WHAT}") from None
