"""References to secrets: which one is in force, and those of a user's set-up as lines of text.

A line is `env VARIABLE NAME KEY` or `file FILE NAME KEY`, so that an admission policy can check it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import TypeVar

from devservers_core.grammar import (
    ENV_NAME,
    ENV_NAME_MAX,
    SECRET_KEY,
    SECRET_KEY_MAX,
    SECRET_NAME,
    SECRET_NAME_MAX,
    fits,
)
from devservers_core.names import ACCOUNT_ENV, DEFAULT_SECRET_KEY, RESERVED_ENV_PREFIX
from devservers_core.types import Json

Reference = TypeVar("Reference")
Target = tuple[str, str]
"""What has one value only: its kind, and the name of the variable or file."""
KINDS = ("env", "file")
"""A secret is a variable or a file."""
SETUP_SECRET = (
    r"^(env [A-Za-z_][A-Za-z0-9_]{0,127}|file [A-Za-z0-9_-][A-Za-z0-9._-]{0,63})"
    r" [a-z0-9]([a-z0-9-]{0,38}[a-z0-9])? [A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"
)
"""The grammar of a line, for the admission policy: variables that nobody sets are refused beside it."""
MAX_SETUP_SECRETS_BYTES = 4096
"""Of all lines of a set-up; the longest possible ones are never that many."""


def target(reference: Json) -> Target:
    """The variable or file of a reference in the shape of the API."""
    kind = "env" if reference.get("env") else "file"
    return kind, str(reference.get(kind))


def in_force(
    of_server: Iterable[Reference],
    of_setup: Iterable[Reference],
    of_user: Iterable[Reference],
    variables: Container[str],
    target: Callable[[Reference], Target],
) -> list[Reference]:
    """The references that a server's next start uses.

    Of one variable or file the server's own reference wins, then that of its user's set-up, then the DevServerUser's.
    `variables` are those that the server sets as plain text: neither the set-up nor the DevServerUser replaces one.
    """
    winners = {target(reference): reference for reference in of_server}
    for reference in (*of_setup, *of_user):
        kind, name = target(reference)
        if kind != "env" or name not in variables:
            winners.setdefault((kind, name), reference)
    return list(winners.values())


def parse_lines(text: str) -> tuple[list[Json], list[str]]:
    """The references of a text, in the shape of the API, and the lines that are none."""
    references: list[Json] = []
    bad: list[str] = []
    for line in filter(None, text.split("\n")):
        reference = _parse(line)
        if reference is None:
            bad.append(line)
        else:
            references.append(reference)
    return references, bad


def format_lines(references: Iterable[Json]) -> str:
    """References in the shape of the API as a text, "" for none."""
    return "\n".join(
        f"{kind} {reference[kind]} {reference['name']} {reference.get('key') or DEFAULT_SECRET_KEY}"
        for reference in references
        for kind in KINDS
        if reference.get(kind)
    )


def is_free_variable(name: str) -> bool:
    """Whether a person may set a variable of this name."""
    return fits(name, ENV_NAME, ENV_NAME_MAX) and name not in ACCOUNT_ENV and not name.startswith(RESERVED_ENV_PREFIX)


def _parse(line: str) -> Json | None:
    parts = line.split(" ")
    if len(parts) != 4 or parts[0] not in KINDS:
        return None
    kind, target, name, key = parts
    good = is_free_variable(target) if kind == "env" else fits(target, SECRET_KEY, SECRET_KEY_MAX)
    if not good or not fits(name, SECRET_NAME, SECRET_NAME_MAX) or not fits(key, SECRET_KEY, SECRET_KEY_MAX):
        return None
    return {"name": name, "key": key, kind: target}
