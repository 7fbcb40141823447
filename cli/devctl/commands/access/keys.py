"""`devctl keys`: the SSH keys that open a user's account."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from devctl.options import Output
from devctl.output import console, tables, times
from devctl.resources.people.account_keys import change_own_keys, own_keys, print_lines
from devctl.resources.people.key_file import read_public_key
from devctl.resources.people.user_ssh_keys import Key, expiry_warnings

if TYPE_CHECKING:
    from devctl.context import Context


def keys_list_command(context: Context, output: Output = None) -> None:
    """List the keys that open your account, and when they end."""
    output_format = context.output(output)
    keys, now = own_keys(context), datetime.now(UTC)
    if context.broker:
        print_lines(expiry_warnings(keys, now))
    if output_format in ("json", "yaml"):
        document = [
            {"name": key.name or None, "fingerprint": key.fingerprint, "key": key.line,
             "expires": f"{key.expires:%Y-%m-%dT%H:%M:%SZ}" if key.expires else None}
            for key in keys
        ]  # fmt: skip
        console.echo(tables.to_json(document) if output_format == "json" else tables.to_yaml(document).rstrip())
        return
    if output_format == "name":
        for key in keys:
            console.echo(key.name or key.fingerprint)
        return
    if not keys:
        console.info(f"{context.user} has no keys; an administrator adds the first one")
        return
    rows = [
        [key.name or "-", key.public.kind, key.fingerprint, _expiry(key, now), key.public.comment or "-"]
        for key in keys
    ]
    tables.table(["NAME", "TYPE", "FINGERPRINT", "ENDS", "COMMENT"], rows)


def keys_add_command(
    context: Context,
    name: Annotated[str, typer.Argument(help="What to call it, like laptop.")],
    key: Annotated[str, typer.Argument(help="A .pub file, the key itself, or - for standard input.")] = "-",
    expires: Annotated[
        str | None, typer.Option(metavar="WHEN", help="When it ends: 90d, 12h, 2027-01-31. Never, if not given.")
    ] = None,
) -> None:
    """Add a key.

    devctl keys add laptop ~/.ssh/id_ed25519.pub
    """
    line = read_public_key(key, context.broker)
    change_own_keys(context, {"add": {"name": name, "key": line, "expires": expires}})
    console.info(f"{name} opens your account in a moment ({Key(name, line).fingerprint}); running servers: 90 seconds")


def keys_remove_command(
    context: Context, key: Annotated[str, typer.Argument(help="Its name or fingerprint; see `devctl keys list`.")]
) -> None:
    """Remove a key. New logins with it are refused within seconds, its sessions on the bastion end."""
    change_own_keys(context, {"remove": key})
    console.info(f"{key} is removed")


def _expiry(key: Key, now: datetime) -> str:
    if key.expires is None:
        return "never"
    return "ended" if key.over(now) else f"{key.expires:%Y-%m-%d} (in {times.until(key.expires.isoformat(), now)})"
