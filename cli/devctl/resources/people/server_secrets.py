"""The user's secrets for servers, as the operator's index lists them, and a warning about one that it lacks."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from devctl.output import console
from devctl.resources.people.written_secrets import WrittenSecrets
from devservers_core.errors import CommandError
from devservers_core.names import DEFAULT_SECRET_KEY, SECRET_TYPE_USER, USER_SECRET_PREFIX, USER_SECRETS

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json

SECRETS = WrittenSecrets(USER_SECRETS, SECRET_TYPE_USER, "secrets")
INDEX_SECONDS = 3.0
"""Seconds that the operator has to put a secret into its index, before one of that name counts as unknown."""


def keys(note: dict[str, Any]) -> list[str]:
    """The keys of an entry of the index."""
    listed = note.get("keys")
    return [str(key) for key in listed] if isinstance(listed, list) else []


def warn_of_missing(context: Context, references: Iterable[Json], waiting: str) -> None:
    """Warn of secrets that don't exist, or lack the key; `waiting` says what waits for them, like "mydev waits".

    Nothing is said where the index can't be read.
    """
    missing = dict.fromkeys((str(each["name"]), str(each.get("key") or DEFAULT_SECRET_KEY)) for each in references)
    deadline = time.monotonic() + INDEX_SECONDS
    while missing:
        try:
            index = SECRETS.list(context)
        except CommandError:
            return
        listed = {(name, key) for name, _ in missing for key in keys(index.get(f"{USER_SECRET_PREFIX}{name}") or {})}
        missing = {pair: None for pair in missing if pair not in listed}
        if time.monotonic() >= deadline:
            break
        if missing:
            time.sleep(0.5)
    for name, key in missing:
        if f"{USER_SECRET_PREFIX}{name}" in index:
            has = ", ".join(keys(index[f"{USER_SECRET_PREFIX}{name}"])) or "none"
            console.warn(f"your secret {name} has no key {key} (its keys: {has}): {waiting} for it")
        else:
            command = f"devctl secret set {name}" + ("" if key == DEFAULT_SECRET_KEY else f" {key}")
            console.warn(f"you have no secret {name} yet: {waiting} for it; `{command}` makes it")
