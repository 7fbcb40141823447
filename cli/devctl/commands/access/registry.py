"""`devctl registry`: a user's logins to private image registries.

Invariant: a password comes from a prompt or standard input, goes to the API server, and is never shown or read back.
Each registry has one Secret, named after it.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from devctl.options import Output
from devctl.output import console, tables
from devctl.resources.people.written_secrets import WrittenSecrets
from devservers_core import names
from devservers_core.errors import NOT_FOUND, REFUSED, USAGE, CommandError
from devservers_core.registry import DOCKER_HUB, canonical_host, secret_name

if TYPE_CHECKING:
    from devctl.context import Context


LOGINS = WrittenSecrets(names.REGISTRIES, names.SECRET_TYPE_REGISTRY, "logins to registries")
DOCKER_HUB_KEY = "https://index.docker.io/v1/"
"""The key of Docker Hub in a docker configuration."""
MAX_PASSWORD_BYTES = 8192
"""Limit on a password or token, in bytes."""
MAX_USERNAME_BYTES = 256
PROMPT_DELAY_SECONDS = 2.0
"""Seconds of silence on standard input after which a hint is printed."""
_REGISTRY = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")
Host = Annotated[str, typer.Argument(metavar="REGISTRY", help="Like ghcr.io or registry.example.org:5000.")]


def registry_login_command(
    context: Context,
    registry: Host,
    username: Annotated[str, typer.Option("--username", "-u", help="Your name at the registry.")],
) -> None:
    """Log in to a registry; the password is asked for, or read from standard input.

    With a token in a file: devctl registry login ghcr.io --username ann < token
    """
    registry = registry_host(registry)
    if not username.isprintable() or ":" in username or not 0 < len(username.encode()) <= MAX_USERNAME_BYTES:
        raise CommandError(f"--username {username[:60]!r} is not a user name", "give your name at the registry", USAGE)
    secret = read_password(registry)
    token = base64.b64encode(f"{username}:{secret}".encode()).decode()
    key = DOCKER_HUB_KEY if registry == DOCKER_HUB else registry
    note = {"registry": registry, "username": username, "since": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    LOGINS.write(context, secret_name(registry), _config({key: {"auth": token}}))
    LOGINS.note(context, secret_name(registry), note)
    console.info(f"your servers pull images of {registry} as {username} now; one that waits for its image tries again")


def registry_logout_command(context: Context, registry: Host) -> None:
    """Forget a login; images that are on a node already can still be started there."""
    registry = registry_host(registry)
    registries = [str(login["registry"]) for login in logins(context)]
    if registry not in registries:
        remedy = f"you are logged in to {', '.join(registries)}" if registries else "you are logged in to none"
        raise CommandError(f"there is no login to {registry}", remedy, NOT_FOUND)
    LOGINS.write(context, secret_name(registry), _config({}))
    LOGINS.note(context, secret_name(registry), None)
    console.info(f"the login to {registry} is gone")


def registry_list_command(context: Context, output: Output = None) -> None:
    """List the registries you are logged in to; passwords are never shown."""
    form = context.output(output)
    entries = logins(context)
    if form in ("json", "yaml"):
        console.echo(tables.to_json(entries) if form == "json" else tables.to_yaml(entries).rstrip())
    elif form == "name":
        for entry in entries:
            console.echo(console.printable(str(entry["registry"])))
    elif not entries:
        console.info("you are logged in to no registry; `devctl registry login REGISTRY --username NAME`")
    else:
        rows = [[str(entry[key]) for key in ("registry", "username", "since")] for entry in entries]
        tables.table(["REGISTRY", "USERNAME", "SINCE"], rows)


def registry_host(text: str) -> str:
    """Return a registry's host as image references write it. Raises CommandError."""
    name = text.removeprefix("https://").rstrip("/").lower()
    if len(name) > 253 or not _REGISTRY.fullmatch(name):
        raise CommandError(
            f"{text[:80]!r} is not a registry",
            "write its name as images have it, like ghcr.io or registry.example.org:5000",
            REFUSED,
        )
    return canonical_host(name)


def read_password(registry: str) -> str:
    """Read a password from a prompt without echo, or all of standard input.

    Raises CommandError.
    """
    if sys.stdin.isatty():
        from getpass import getpass

        secret = getpass(f"Password or token for {registry}: ")
    else:
        from select import select

        if not select([sys.stdin], [], [], PROMPT_DELAY_SECONDS)[0]:
            console.info("waiting for the password on standard input, up to its end; to type it unseen, use `ssh -t`")
        secret = sys.stdin.buffer.read(MAX_PASSWORD_BYTES + 2).decode(errors="surrogateescape")
    secret = secret.rstrip("\r\n")
    if (
        not secret or not secret.isprintable() or len(secret.encode()) > MAX_PASSWORD_BYTES
    ):  # what is no text isn't printable
        what = "no password was given" if not secret else "this is not one line of text of a password's length"
        raise CommandError(what, f"type it, or `devctl registry login {registry} --username NAME < FILE`", USAGE)
    return secret


def logins(context: Context) -> list[dict[str, str]]:
    """List the user's logins from the notes, by registry. Raises CommandError."""
    fields = ("registry", "username", "since")
    notes = LOGINS.list(context).values()
    entries = [{key: str(note[key]) for key in fields} for note in notes if all(key in note for key in fields)]
    return sorted(entries, key=lambda entry: entry["registry"])


def _config(auths: dict[str, dict[str, str]]) -> dict[str, bytes]:
    """The data of a registry's Secret: a docker configuration."""
    return {names.REGISTRY_ENTRY: json.dumps({"auths": auths}).encode()}
