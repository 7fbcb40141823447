"""The user of a local platform: a name and public keys.

Invariant: `make up` and `pulumi up` find the same user, as otherwise the second would delete the first one's.

Environment variables win; then the
account's own name and public keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devservers_core.grammar import USER_NAME_MAX, slug
from devservers_core.names import is_reserved_user
from infra.errors import InfraError

FALLBACK = "me"
"""For root and other accounts whose names mean something inside an image."""
_OWN_KEYS = ("id_ed25519.pub", "id_ed25519_sk.pub", "id_ecdsa.pub", "id_ecdsa_sk.pub", "id_rsa.pub")


class PersonError(InfraError):
    """The person's keys can't be read."""


@dataclass(frozen=True)
class Person:
    """The person at this machine: a valid user name, and public keys."""

    name: str
    keys: tuple[str, ...]
    keys_from: str


def user_name(account: str) -> str:
    """The user name for an account: `Ann.Lee` gives `ann-lee`, `root` gives `me`."""
    name = slug(account, USER_NAME_MAX)
    return FALLBACK if not name or is_reserved_user(name) else name


def person(env: Mapping[str, str]) -> Person:
    """The person of an environment.

    Name: DEVSERVERS_LOCAL_USER as it is, else made from SUDO_USER, USER or LOGNAME. Keys: every line of
    DEVSERVERS_LOCAL_KEYS_FILE, else of the public keys in ~/.ssh; none is an empty tuple.
    Raises :class:`PersonError` when a named file can't be read.
    """
    account = next((env[key] for key in ("SUDO_USER", "USER", "LOGNAME") if env.get(key)), "root")
    name = env.get("DEVSERVERS_LOCAL_USER") or user_name(account)
    named = env.get("DEVSERVERS_LOCAL_KEYS_FILE", "")
    if named:
        return Person(name, _lines(Path(named)), named)
    folder = Path(env.get("HOME") or Path.home()) / ".ssh"
    found = [folder / file for file in _OWN_KEYS if (folder / file).is_file()]
    keys = tuple(line for path in found for line in _lines(path))
    return Person(name, tuple(dict.fromkeys(keys)), str(folder))


def _lines(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise PersonError(
            f"{path}: the public keys can't be read: {why}",
            "set DEVSERVERS_LOCAL_KEYS_FILE to a file with one public key a line",
        ) from None
    lines = (line.strip() for line in text.splitlines())
    return tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
