"""References to secrets, as lists of `{name, key, env | file}`: changes and descriptions.

Invariant: pure; there is never a value in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from devctl.validation import refusal
from devservers_core import setup_secrets
from devservers_core.errors import USAGE, CommandError
from devservers_core.names import DEFAULT_SECRET_KEY, SECRETS_PATH

if TYPE_CHECKING:
    from devservers_core.types import Json


def target(reference: Json) -> str:
    """The variable, or the name of the file, that has the value."""
    return setup_secrets.target(reference)[1]


def description(reference: Json) -> str:
    """One reference as text, like `HF_TOKEN from huggingface`."""
    shown = reference.get("env") or f"{SECRETS_PATH}/{reference.get('file')}"
    key = reference.get("key") or DEFAULT_SECRET_KEY
    source = reference["name"] if key == DEFAULT_SECRET_KEY else f"{reference['name']}/{key}"
    return f"{shown} from {source}"


def changed(current: Iterable[Json], given: Iterable[Json], removed: Iterable[str]) -> list[Json]:
    """The references after a change: each given one takes the place of that with its variable or file."""
    kept = [reference for reference in current if target(reference) not in removed]
    return list({setup_secrets.target(reference): reference for reference in (*kept, *given)}.values())


def same(some: Iterable[Json], others: Iterable[Json]) -> bool:
    """Whether two lists say the same; the API fills in the key where none was given."""
    first, second = (
        [{"key": DEFAULT_SECRET_KEY, **reference} for reference in references] for references in (some, others)
    )
    return first == second


def refuse_absent(
    holder: str, current: Iterable[Json], removed: Iterable[str], of_administrator: Iterable[Json] = ()
) -> None:
    """Refuse to remove what `holder` doesn't have, like a server or "your set-up". Raises CommandError."""
    targets = [target(reference) for reference in current]
    for name in removed:
        if name not in targets:
            theirs = name in map(target, of_administrator)
            listed = ", ".join(targets) or "it has none"
            raise refusal(
                f"{holder} has no secret as {name[:80]!r} of its own",
                "it is your administrator's; ask them" if theirs else f"its variables and files from secrets: {listed}",
            )


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
