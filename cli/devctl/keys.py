"""devctl keys: which SSH keys open a person's account.

Invariant: on the bastion the broker changes them, for the one whom the kernel names; elsewhere it takes rights on
DevServerUsers, which administrators have. Never is a private key read further than its first line.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devctl import broker, keyring, people, render
from devctl.errors import USAGE, ApiError, Failure, from_api
from devctl.keyring import Key, ending
from devctl.listing import Output

if TYPE_CHECKING:
    from devctl.session import Session

__all__ = ["ending"]


def keys_list_command(session: Session, output: Output = None) -> None:
    """List the keys that open your account, and when they end."""
    form = session.output(output)
    found, now = own(session), datetime.now(UTC)
    if form in ("json", "yaml"):
        document = [
            {"name": key.name or None, "fingerprint": key.fingerprint, "key": key.line,
             "expires": f"{key.expires:%Y-%m-%dT%H:%M:%SZ}" if key.expires else None}
            for key in found
        ]  # fmt: skip
        render.out(render.to_json(document) if form == "json" else render.to_yaml(document).rstrip())
        return
    if form == "name":
        for key in found:
            render.out(key.name or key.fingerprint)
        return
    if not found:
        render.say(f"{session.user} has no keys; an administrator adds the first one")
        return
    rows = [[key.name or "-", key.kind, key.fingerprint, _end(key, now), key.comment or "-"] for key in found]
    render.table(["NAME", "TYPE", "FINGERPRINT", "ENDS", "COMMENT"], rows)


def keys_add_command(
    session: Session,
    name: Annotated[str, typer.Argument(help="What to call it, like laptop.")],
    key: Annotated[str, typer.Argument(help="A .pub file, the key itself, or - for standard input.")] = "-",
    expires: Annotated[
        str | None, typer.Option(metavar="WHEN", help="When it ends: 90d, 12h, 2027-01-31. Never, if not given.")
    ] = None,
) -> None:
    """Add a key: devctl keys add laptop ~/.ssh/id_ed25519.pub"""
    line = from_file(key)
    change(session, {"add": {"name": name, "key": line, "expires": expires}})
    render.say(f"{name} opens your account in a moment ({Key(name, line).fingerprint}); running servers: 90 seconds")


def keys_remove_command(
    session: Session, key: Annotated[str, typer.Argument(help="Its name or fingerprint; see `devctl keys list`.")]
) -> None:
    """Remove a key. New logins with it are refused within seconds, its sessions on the bastion end."""
    change(session, {"remove": key})
    render.say(f"{key} is removed")


def own(session: Session) -> list[Key]:
    """The person's keys. Raises Failure."""
    if session.broker:
        return keyring.keys(broker.ask(session.broker, {"want": "keys"})["spec"])
    return keyring.keys(_user(session).get("spec") or {})


def change(session: Session, request: dict[str, Any]) -> None:
    """Add or remove a key of the session's person; see people.change_keys. Raises Failure."""
    if session.broker:
        broker.ask(session.broker, {"want": "keys", **request})
        return
    try:
        people.change_keys(session.kube, session.user, request)
    except ApiError as error:
        raise _api(error, session) from None


def from_file(word: str) -> str:
    """The key that a word on the command line means: itself, standard input, or a file. Raises Failure."""
    if word.startswith(("ssh-", "ecdsa-", "sk-")) and " " in word:
        return keyring.read(word)
    try:
        text = sys.stdin.read(65536) if word == "-" else Path(word).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise Failure(f"{word} cannot be read: {reason}", "give a .pub file, or - for standard input", USAGE) from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) > 1 and "PRIVATE KEY" not in text:
        raise Failure(f"{word} has {len(lines)} lines", "give one key at a time", USAGE)
    return keyring.read(text if "PRIVATE KEY" in text else "".join(lines))


def _user(session: Session) -> dict[str, Any]:
    try:
        return session.kube.get(people.user_path(session.user))
    except ApiError as error:
        raise _api(error, session) from None


def _api(error: ApiError, session: Session) -> Failure:
    failure = from_api(error, f"change the keys of {session.user}")
    if error.status == 403:
        failure.todo = "your own keys are changed on the bastion: `ssh USER@BASTION devctl keys ...`"
    return failure


def _end(key: Key, now: datetime) -> str:
    if key.expires is None:
        return "never"
    return "ended" if key.over(now) else f"{key.expires:%Y-%m-%d} (in {render.until(key.expires.isoformat(), now)})"
