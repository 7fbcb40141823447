"""The references to secrets in a user's set-up, as lines of text.

A line is `env VARIABLE NAME KEY` or `file FILE NAME KEY`, so that an admission policy can check it.
"""

from __future__ import annotations

from collections.abc import Iterable

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

KINDS = ("env", "file")
"""A secret is a variable or a file."""
SETUP_SECRET = (
    r"^(env [A-Za-z_][A-Za-z0-9_]{0,127}|file [A-Za-z0-9_-][A-Za-z0-9._-]{0,63})"
    r" [a-z0-9]([a-z0-9-]{0,38}[a-z0-9])? [A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"
)
"""The grammar of a line, for the admission policy: variables that nobody sets are refused beside it."""
MAX_SETUP_SECRETS_BYTES = 4096
"""Of all lines of a set-up; the longest possible ones are never that many."""


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
