"""devctl keys: which SSH keys open a person's account.

Invariant: on the bastion the broker changes them, for the one whom the kernel names; elsewhere it takes rights on
DevServerUsers, which administrators have. Never is a private key read further than its first line.
"""

from __future__ import annotations

import os
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devctl import broker, keyring, people, render
from devctl.errors import from_api
from devctl.keyring import Key, ending
from devctl.listing import Output
from devservers_core.client.paths import user_path
from devservers_core.errors import REFUSED, USAGE, ApiError, CommandError
from devservers_core.protocol.broker import KeysRequest

if TYPE_CHECKING:
    from devctl.session import Session

__all__ = ["ending"]
MOST = 65536
"""Bytes of a file that is said to be a key."""


def keys_list_command(session: Session, output: Output = None) -> None:
    """List the keys that open your account, and when they end."""
    form = session.output(output)
    found, now = own(session), datetime.now(UTC)
    if session.broker:
        _say(ending(found, now))
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
    rows = [
        [key.name or "-", key.public.kind, key.fingerprint, _end(key, now), key.public.comment or "-"] for key in found
    ]
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
    line = from_file(key, session.broker)
    change(session, {"add": {"name": name, "key": line, "expires": expires}})
    render.say(f"{name} opens your account in a moment ({Key(name, line).fingerprint}); running servers: 90 seconds")


def keys_remove_command(
    session: Session, key: Annotated[str, typer.Argument(help="Its name or fingerprint; see `devctl keys list`.")]
) -> None:
    """Remove a key. New logins with it are refused within seconds, its sessions on the bastion end."""
    change(session, {"remove": key})
    render.say(f"{key} is removed")


def notice(session: Session) -> None:
    """On the bastion: on standard error, which keys end soon. It is a service, and whatever fails in it no obstacle."""
    if not session.broker:
        return
    try:
        _say(ending(keyring.keys(broker.ask(session.broker, KeysRequest()).spec), datetime.now(UTC)))
    except (CommandError, LookupError, TypeError):
        return


def _say(lines: list[str]) -> None:
    for line in lines:
        render.say(render.clean(line))


def own(session: Session) -> list[Key]:
    """The person's keys. Raises CommandError."""
    if session.broker:
        _only_ones_own(session)
        return keyring.keys(broker.ask(session.broker, KeysRequest()).spec)
    return keyring.keys(_user(session).get("spec") or {})


def change(session: Session, request: dict[str, Any]) -> None:
    """Add or remove a key of the session's person; see people.change_keys. Raises CommandError."""
    if session.broker:
        _only_ones_own(session)
        broker.ask(session.broker, KeysRequest(request))
        return
    try:
        people.change_keys(session.kube, session.user, request)
    except ApiError as error:
        raise _api(error, session) from None
    except keyring.LastKey as failure:
        failure.remedy = f"`devctl user suspend {session.user}` takes all of them out of force"
        raise


def from_file(word: str, broker: str | None) -> str:
    """The key that a word on the command line means: itself, standard input, or a file. Raises CommandError.

    With `broker`, on the bastion, no file is looked at: which there are, and what is in them, is nobody's to ask.
    """
    if _is_key(word) or "PRIVATE KEY" in word:
        return keyring.read(word)
    if broker and word != "-":
        raise CommandError(
            "the bastion has no file of yours",
            "give the key itself in quotes, or send it: `ssh USER@BASTION devctl keys add NAME - < FILE.pub`",
            USAGE,
        )
    try:
        text = sys.stdin.read(MOST + 1) if word == "-" else _regular(Path(word).expanduser())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise CommandError(
            f"{word} cannot be read: {reason}", "give a .pub file, or - for standard input", USAGE
        ) from None
    if len(text) > MOST:
        raise CommandError(f"{word} is too long for a public key", "give a .pub file, or - for standard input", USAGE)
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) > 1 and "PRIVATE KEY" not in text:
        raise CommandError(f"{word} has {len(lines)} lines", "give one key at a time", USAGE)
    return keyring.read(text if "PRIVATE KEY" in text else "".join(lines))


def _is_key(word: str) -> bool:
    return word.startswith(("ssh-", "ecdsa-", "sk-")) and " " in word


def _regular(path: Path) -> str:
    """The beginning of a file; OSError for a device or a pipe, which may have no end."""
    # A pipe without a writer does not hang.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(None, "it is not a file of the usual kind")
        return file.read(MOST + 1).decode()


def _only_ones_own(session: Session) -> None:
    """The broker changes the keys of the one who asks: a name that is not theirs must not be passed over."""
    asked, account = session.flags.get("user"), session.environ.get("DEVCTL_USER")
    if asked and asked != account:
        raise CommandError(
            f"the bastion shows and changes your own keys only, not those of {asked[:80]!r}",
            "an administrator does that with credentials of their own: `devctl keys ... --user NAME`",
            REFUSED,
        )


def _user(session: Session) -> dict[str, Any]:
    try:
        return session.kube.get(user_path(session.user))
    except ApiError as error:
        raise _api(error, session) from None


def _api(error: ApiError, session: Session) -> CommandError:
    failure = from_api(error, f"change the keys of {session.user}")
    if error.status == 403:
        failure.remedy = "your own keys are changed on the bastion: `ssh USER@BASTION devctl keys ...`"
    return failure


def _end(key: Key, now: datetime) -> str:
    if key.expires is None:
        return "never"
    return "ended" if key.over(now) else f"{key.expires:%Y-%m-%d} (in {render.until(key.expires.isoformat(), now)})"
