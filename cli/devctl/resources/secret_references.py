"""References to secrets, as lists of `{name, key, env | file}`: changes and descriptions.

Invariant: pure; there is never a value in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from devservers_core.errors import USAGE, CommandError
from devservers_core.names import DEFAULT_SECRET_KEY, SECRETS_PATH

if TYPE_CHECKING:
    from devservers_core.types import Json


def target(reference: Json) -> str:
    """The variable, or the name of the file, that has the value."""
    return str(reference.get("env") or reference.get("file"))


def place(reference: Json) -> tuple[str, str]:
    """What has one value only: kind and name of the variable or file."""
    return ("env" if reference.get("env") else "file", target(reference))


def description(reference: Json) -> str:
    """One reference as text, like `HF_TOKEN from huggingface`."""
    shown = reference.get("env") or f"{SECRETS_PATH}/{reference.get('file')}"
    key = reference.get("key") or DEFAULT_SECRET_KEY
    source = reference["name"] if key == DEFAULT_SECRET_KEY else f"{reference['name']}/{key}"
    return f"{shown} from {source}"


def changed(current: Iterable[Json], given: Iterable[Json], removed: Iterable[str]) -> list[Json]:
    """The references after a change: each given one takes the place of that with its variable or file."""
    kept = [reference for reference in current if target(reference) not in removed]
    return list({place(reference): reference for reference in (*kept, *given)}.values())


def same(some: Iterable[Json], others: Iterable[Json]) -> bool:
    """Whether two lists say the same; the API fills in the key where none was given."""
    first, second = (
        [{"key": DEFAULT_SECRET_KEY, **reference} for reference in references] for references in (some, others)
    )
    return first == second


def absent(current: Iterable[Json], removed: Iterable[str]) -> list[str]:
    """What is to be removed and isn't there."""
    targets = {target(reference) for reference in current}
    return [name for name in removed if name not in targets]


def check_removed(removed: Iterable[str], given: Iterable[Json]) -> tuple[str, ...]:
    """Check the values of --unset-secret against the references that are given. Raises CommandError."""
    names = tuple(dict.fromkeys(removed))
    targets = {target(reference) for reference in given}
    for name in names:
        if name in targets:
            raise CommandError(
                f"{name} is set and removed at once", "give one of --secret (--secret-file) and --unset-secret", USAGE
            )
    return names
