"""`devctl config`: changes one key of the configuration file.

Invariant: only the line of that key changes, and what is written is what is read back.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devctl import completion
from devctl.config import KEYS, OUTPUTS, PATHS, parse
from devctl.files import replace_file
from devctl.output import console
from devservers_core.errors import USAGE, CommandError
from devservers_core.grammar import CLAIM_NAME_MAX, DNS_NAME, fits

if TYPE_CHECKING:
    from devctl.context import Context


SettingKey = Annotated[str, typer.Argument(help="One of: " + ", ".join(KEYS), autocompletion=completion.keys)]


def config_set_command(
    context: Context, key: SettingKey, value: Annotated[str, typer.Argument(help="Its value.")]
) -> None:
    """Set one key of the configuration file; `devctl info` shows all of them."""
    if key in KEYS:
        check_value(key, value, context)
    _write(context, key, f"{key}: {json.dumps(value, ensure_ascii=False)}\n")


def config_unset_command(context: Context, key: SettingKey) -> None:
    """Remove one key from the configuration file."""
    _write(context, key, "")


def check_value(key: str, value: str, context: Context) -> None:
    """Raise CommandError for a value that the commands which read it would refuse.

    A file that does not exist is a warning.
    """
    from devctl import validation
    from devctl.ssh.bastion import endpoint
    from devservers_core import ssh_keys

    if key == "user" and not validation.user_name(value):
        raise CommandError(f"{value[:80]!r} is not a user name", validation.user_name_rule(value), USAGE)
    if key in ("flavor", "namespace") and not fits(value, DNS_NAME, CLAIM_NAME_MAX):
        raise CommandError(f"{value[:80]!r} is not the name of a {key}", "use small letters, digits and dashes", USAGE)
    if key == "context" and not (value and value.isprintable()):
        raise CommandError(
            "a context's name has no control characters", "`kubectl config get-contexts` lists them", USAGE
        )
    if key == "image":
        validation.image(value)
    if key == "homeSize":
        validation.home_size(value, "homeSize")
    if key == "output" and value not in OUTPUTS:
        raise CommandError(f"output {value!r} is unknown", "use one of " + ", ".join(OUTPUTS), USAGE)
    if key == "bastion" and not endpoint.parse_address(value):
        raise CommandError(
            f"{value[:80]!r} is not an address", "write HOST or HOST:PORT, like bastion.example.org", USAGE
        )
    if key == "hostAuthority" and ssh_keys.ed25519(value) is None:
        raise CommandError(
            "that is not an ssh-ed25519 public key",
            "take the line that your administrator sent, or the one of `devctl user show`",
            USAGE,
        )
    if key == "identityFile" and value.endswith(".pub"):
        raise CommandError(
            f"{value} is the public half of a key", f"give the private one: {value.removesuffix('.pub')}", USAGE
        )
    if key in PATHS:
        folder = context.config.path.parent
        paths = value.split(os.pathsep) if key == "kubeconfig" else [value]
        for path in (folder / Path(entry).expanduser() for entry in paths):
            if not path.is_file():
                console.warn(f"there is no file {path}; a path in the file is relative to {folder}")


def _write(context: Context, key: str, line: str) -> None:
    path = context.config.path
    if key not in KEYS:
        # With the words that the file itself would be refused with.
        parse(f"{key}: x\n", path)
    if context.broker:
        raise CommandError("settings are not kept on the bastion", "set them on your own machine", USAGE)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = [row for row in before.splitlines(keepends=True) if not row.startswith((f"{key}:", f"{key} :"))]
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    text = "".join([*lines, line])
    if text.strip():
        parse(text, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}", "make it writable") from None
    console.info(f"{path}: {key} is {'set' if line else 'removed'}")
