"""devctl config and version: one key of the configuration file at a time.

Invariant: of the file only the line of that key changes, and what is written is what is read back.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from devctl import __version__, complete, render
from devctl.config import KEYS, parse
from devctl.errors import USAGE, Failure

if TYPE_CHECKING:
    from devctl.session import Session

Key = Annotated[str, typer.Argument(help="One of: " + ", ".join(KEYS), autocompletion=complete.keys)]


def config_set_command(session: Session, key: Key, value: Annotated[str, typer.Argument(help="Its value.")]) -> None:
    """Set one key of the configuration file; `devctl info` shows all of them."""
    _write(session, key, f"{key}: {json.dumps(value, ensure_ascii=False)}\n")


def config_unset_command(session: Session, key: Key) -> None:
    """Remove one key from the configuration file."""
    _write(session, key, "")


def version_command(session: Session) -> None:
    """Print the version."""
    render.out(f"devctl {__version__}")


def _write(session: Session, key: str, line: str) -> None:
    path = session.config.path
    if key not in KEYS:
        # With the words that the file itself would be refused with.
        parse(f"{key}: x\n", path)
    if session.broker:
        raise Failure("settings are not kept on the bastion", "set them on your own machine", USAGE)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    kept = [each for each in before.splitlines(keepends=True) if not each.startswith((f"{key}:", f"{key} :"))]
    if kept and not kept[-1].endswith("\n"):
        kept[-1] += "\n"
    text = "".join([*kept, line])
    if text.strip():
        parse(text, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.devctl")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}", "make it writable") from None
    render.say(f"{path}: {key} is {'set' if line else 'removed'}")
