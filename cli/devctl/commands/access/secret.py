"""`devctl secret`: values that a user's servers get as variables or files.

Invariant: a value comes from a prompt, standard input or a file, goes to the API server, and is never shown, never an
argument, and never read back.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devctl.options import Output, Yes
from devctl.output import console, tables
from devctl.output.prompts import confirm
from devctl.resources.people.server_secrets import INDEX_SECONDS, SECRETS, keys
from devctl.resources.people.user_setup import setup_secrets
from devctl.resources.people.written_secrets import SecretExistsError
from devservers_core.errors import NOT_FOUND, REFUSED, USAGE, CommandError
from devservers_core.grammar import SECRET_KEY, SECRET_KEY_MAX, SECRET_NAME, SECRET_NAME_MAX, fits
from devservers_core.masking import mask_text
from devservers_core.names import (
    DEFAULT_SECRET_KEY,
    MAX_USER_SECRET_BYTES,
    MAX_USER_SECRETS,
    USER_SECRET_PREFIX,
)

if TYPE_CHECKING:
    from devctl.context import Context

PROMPT_DELAY_SECONDS = 2.0
"""Seconds of silence on standard input after which a hint is printed."""
Name = Annotated[str, typer.Argument(help="What to call it, like huggingface.")]


def secret_set_command(
    context: Context,
    name: Name,
    key: Annotated[
        str | None, typer.Argument(help=f"What the value is called in it; {DEFAULT_SECRET_KEY} if not given.")
    ] = None,
    from_file: Annotated[
        list[str] | None,
        typer.Option("--from-file", metavar="[KEY=]FILE", help="Take the value from a file; repeatable."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Drop other values that the secret has now.")] = False,
) -> None:
    """Set a secret; the value is asked for, or read from standard input.

    devctl secret set huggingface < token; a server gets it by `devctl create NAME --secret HF_TOKEN=huggingface`
    """
    name = secret_name(name)
    if from_file and key is not None:
        raise CommandError("KEY and --from-file are both given", "write --from-file KEY=FILE", USAGE)
    if from_file:
        data = _from_files(context, from_file)
    else:
        key = secret_key(DEFAULT_SECRET_KEY if key is None else key)
        data = {key: _read_value(name)}
    size = sum(len(key) + len(value) for key, value in data.items())
    if size > MAX_USER_SECRET_BYTES:
        remedy = "put the rest into a file in the home"
        raise CommandError(f"a secret has at most {MAX_USER_SECRET_BYTES // 1024} KiB in all", remedy, REFUSED)
    deadline = time.monotonic() + INDEX_SECONDS
    while not _write(context, name, data, replace=replace, last=time.monotonic() >= deadline):
        time.sleep(0.5)
    console.info(
        f"{name} has {_join(sorted(data))} now; a server that waits for it starts, one that runs has it from its next "
        "start (`devctl restart`)"
    )


def _write(context: Context, name: str, data: dict[str, bytes], *, replace: bool, last: bool) -> bool:
    """Write a secret, unless that drops values that it has. Raises CommandError.

    False if it isn't what the index has, which is a second or two behind; an error with `last`.
    """
    full, index = f"{USER_SECRET_PREFIX}{name}", SECRETS.list(context)
    if full not in index and len(index) >= MAX_USER_SECRETS:
        remedy = "`devctl secret delete` one that isn't needed, or put several values into one (--from-file KEY=FILE)"
        raise CommandError(f"you have {len(index)} secrets, and at most {MAX_USER_SECRETS} are kept", remedy, REFUSED)
    if (dropped := sorted(set(keys(index.get(full) or {})) - set(data))) and not replace:
        # It can't be read back, so what isn't given now is lost.
        raise CommandError(
            f"{name} has {_join(dropped)} too, and a secret is written whole",
            "give all values with --from-file, add --replace to drop the others, or use another name",
            REFUSED,
        )
    version = "" if replace else str((index.get(full) or {}).get("version") or "")
    try:
        SECRETS.write(context, full, data, replace=replace or full in index, version=version)
    except SecretExistsError:
        if last:
            raise
        return False
    return True


def secret_list_command(context: Context, output: Output = None) -> None:
    """List your secrets: names, keys and times; values are never shown."""
    form = context.output(output)
    entries = [
        {"name": name.removeprefix(USER_SECRET_PREFIX), "keys": keys(note), "since": str(note.get("since", "-"))}
        for name, note in sorted(SECRETS.list(context).items())
    ]
    if form in ("json", "yaml"):
        console.echo(tables.to_json(entries) if form == "json" else tables.to_yaml(entries).rstrip())
    elif form == "name":
        for entry in entries:
            console.echo(console.printable(str(entry["name"])))
    elif not entries:
        console.info("you have no secrets; `devctl secret set NAME` makes one")
    else:
        rows = [[str(entry["name"]), ",".join(entry["keys"]), str(entry["since"])] for entry in entries]
        tables.table(["NAME", "KEYS", "SINCE"], rows)


def secret_delete_command(context: Context, name: Name, yes: Yes = False) -> None:
    """Delete a secret; servers that run keep what they have, and a start that needs it waits."""
    name = secret_name(name)
    users = [
        str(server["metadata"]["name"])
        for server in context.servers()
        if any(reference.get("name") == name for reference in (server.get("spec") or {}).get("secrets") or [])
    ]
    if any(reference["name"] == name for reference in setup_secrets(context)):
        users = ["all your servers (by your set-up)"]
    if users and not yes:
        confirm(f"deleting {name}", f"{_join(users)} refer to {name}. Delete it?", "nothing was deleted")
    if not SECRETS.delete(context, f"{USER_SECRET_PREFIX}{name}"):
        raise CommandError(f"there is no secret {name}", "`devctl secret list` shows yours", NOT_FOUND)
    console.info(f"{name} is deleted")


def secret_name(text: str) -> str:
    """Check the name of a secret. Raises CommandError."""
    if not fits(text, SECRET_NAME, SECRET_NAME_MAX):
        remedy = f"use up to {SECRET_NAME_MAX} lower-case letters, digits and dashes, like huggingface"
        raise CommandError(f"{mask_text(text[:80])!r} is not a secret's name", remedy, REFUSED)
    return text


def secret_key(text: str) -> str:
    """Check the key of a value; what looks like the value itself is refused. Raises CommandError."""
    if mask_text(text) != text:
        raise CommandError(
            "this looks like the value, which must not be an argument: it is in the shell's history now",
            "replace it where it came from, and give the new one on standard input",
            REFUSED,
        )
    if not fits(text, SECRET_KEY, SECRET_KEY_MAX):
        remedy = f"use up to {SECRET_KEY_MAX} letters, digits and . _ -, no dot first"
        raise CommandError(f"{text[:40]!r} is not a secret's key", remedy, REFUSED)
    return text


def _join(names: Iterable[str]) -> str:
    return ", ".join(names)


def _from_files(context: Context, arguments: list[str]) -> dict[str, bytes]:
    if context.broker:
        raise CommandError(
            "the bastion has no file of yours", "send it: `devctl secret set NAME KEY < FILE`, one key each", USAGE
        )
    data: dict[str, bytes] = {}
    for word in arguments:
        key, equals, file = word.partition("=")
        path = Path(file if equals else word).expanduser()
        key = secret_key(key if equals else path.name)
        if key in data:
            raise CommandError(f"{key} is given twice", "give each key once", USAGE)
        try:
            with path.open("rb") as stream:
                data[key] = stream.read(MAX_USER_SECRET_BYTES + 1)
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}", "give a file", USAGE) from None
        if not data[key]:
            raise CommandError(f"{path} is empty", "give a file with a value", USAGE)
    return data


def _read_value(name: str) -> bytes:
    """Read a value from a prompt without echo, or all of standard input.

    The line break after a single line is none of the value's: `echo` adds it. Raises CommandError.
    """
    if sys.stdin.isatty():
        from getpass import getpass

        value = getpass(f"Value of {name}: ").encode(errors="surrogateescape")
    else:
        from select import select

        if not select([sys.stdin], [], [], PROMPT_DELAY_SECONDS)[0]:
            console.info("waiting for the value on standard input, up to its end; to type it unseen, use `ssh -t`")
        value = sys.stdin.buffer.read(MAX_USER_SECRET_BYTES + 2)
    lines = value.splitlines()
    value = lines[0] if len(lines) == 1 else value
    if not value:
        raise CommandError("no value was given", f"type it, or `devctl secret set {name} < FILE`", USAGE)
    return value
