"""Reads and patches the SSH keys in a DevServerUser's spec.

Invariant: a change of a user's keys changes their keys and nothing else, and never removes the last one.
Pure: a spec in, a merge patch of spec out. The bastion's broker makes users' own changes with this, devctl an
administrator's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from devservers_core import ssh_keys
from devservers_core.errors import NOT_FOUND, REFUSED, USAGE, CommandError
from devservers_core.grammar import fits
from devservers_core.ssh_keys import MIN_RSA_BITS
from devservers_core.types import Json

EXPIRY_WARNING = timedelta(days=14)
"""A key that ends within this time is named at each login."""


@dataclass(frozen=True)
class Key:
    """A public key of a user. `name` is "" for one of the unnamed list."""

    name: str
    line: str
    expires: datetime | None = None

    @property
    def public(self) -> ssh_keys.PublicKey:
        """The key itself. Raises InvalidKeyError."""
        return ssh_keys.parse(self.line.strip())

    @property
    def fingerprint(self) -> str:
        """The fingerprint in the format of `ssh-keygen -l`."""
        return self.public.fingerprint

    def over(self, now: datetime) -> bool:
        """Whether the key has expired."""
        return self.expires is not None and self.expires <= now


class LastKeyError(CommandError):
    """Raised for the removal of a user's last key: add another first, or suspend the user."""


def parse_public_key(line: str) -> str:
    """Check the line of a .pub file. Raises CommandError, for a private key too."""
    line = line.strip()
    if "PRIVATE KEY" in line:
        raise CommandError(
            "this is a private key, which must stay on your machine", "give the file that ends in .pub", REFUSED
        )
    remedy = "give the one line of a .pub file, without options before it; `ssh-keygen -t ed25519` makes a key"
    try:
        key = ssh_keys.parse(line)
    except ssh_keys.DamagedKeyError:
        raise CommandError(
            "this public key is damaged: its body is not of the type it names", remedy, REFUSED
        ) from None
    except ssh_keys.InvalidKeyError:
        raise CommandError("this is not an OpenSSH public key", remedy, REFUSED) from None
    if key.rsa_bits is not None and key.rsa_bits < MIN_RSA_BITS:
        raise CommandError(
            f"this RSA key has less than {MIN_RSA_BITS} bits, which the bastion doesn't take", remedy, REFUSED
        )
    return line


def list_keys(spec: Json) -> list[Key]:
    """The valid keys of a spec, the unnamed ones first."""
    keys = [Key("", str(line)) for line in spec.get("sshPublicKeys") or []]
    for entry in spec.get("sshKeys") or []:
        expires = entry.get("expires")
        keys.append(Key(str(entry["name"]), str(entry["key"]), datetime.fromisoformat(expires) if expires else None))
    return [key for key in keys if _is_usable(key.line)]


def _is_usable(line: str) -> bool:
    try:
        return bool(parse_public_key(line))
    except CommandError:
        return False


def key_name(line: str, spec: Json) -> str:
    """Make a name for a key from its comment, numbered if the name is taken."""
    comment = Key("", line).public.comment
    base = re.sub(r"[^A-Za-z0-9._@-]+", "-", comment).strip("-._@")[:60] or "key"
    taken = {key.name for key in list_keys(spec)}
    return next(name for name in (base, *(f"{base}-{n}" for n in range(2, 99))) if name not in taken)


def add_key_patch(spec: Json, name: str, line: str, expires: str | None, now: datetime) -> dict[str, Any]:
    """The patch that adds a key.

    Raises CommandError for a bad name or key, one that exists, an expiry in the past.
    """
    line = parse_public_key(line)
    if not fits(name, ssh_keys.KEY_NAME, ssh_keys.KEY_NAME_MAX):
        raise CommandError(
            f"{name[:80]!r} is not a name for a key",
            "use up to 64 letters, digits and . _ @ -, like laptop",
            REFUSED,
        )
    new = Key(name, line)
    for key in list_keys(spec):
        if key.name == name:
            raise CommandError(
                f"there is a key {name} already", f"take another name, or `devctl keys remove {name}` first"
            )
        if key.fingerprint == new.fingerprint:
            raise CommandError(
                f"this key is there already{f', named {key.name}' if key.name else ''}", "`devctl keys list`"
            )
    entry = {"name": name, "key": line}
    if expires is not None:
        entry["expires"] = f"{parse_expiry(expires, now):%Y-%m-%dT%H:%M:%SZ}"
    return {"sshKeys": [*(spec.get("sshKeys") or []), entry]}


def remove_key_patch(spec: Json, which: str, now: datetime) -> dict[str, Any]:
    """The patch that removes a key, by its name or fingerprint.

    Raises CommandError when there is no such key, LastKeyError for the last one.
    """
    everything = list_keys(spec)
    removed = [key for key in everything if which and which in (key.name, key.fingerprint)]
    if not removed:
        names = ", ".join(key.name or key.fingerprint for key in everything) or "none"
        raise CommandError(f"there is no key {which[:80]!r}", f"there are: {names}", NOT_FOUND)
    fingerprints = {key.fingerprint for key in removed}
    if not [key for key in everything if key.fingerprint not in fingerprints and not key.over(now)]:
        raise LastKeyError(
            "this is the last key that opens the account", "add another first: `devctl keys add NAME FILE`", REFUSED
        )

    def stays(line: object) -> bool:
        try:
            return Key("", str(line)).fingerprint not in fingerprints
        except ssh_keys.InvalidKeyError:
            return True

    return {
        "sshPublicKeys": [line for line in spec.get("sshPublicKeys") or [] if stays(line)],
        "sshKeys": [entry for entry in spec.get("sshKeys") or [] if stays(entry.get("key"))],
    }


def parse_expiry(text: str, now: datetime) -> datetime:
    """`90d`, `12h` or an RFC 3339 time or date (its end, UTC) as a time.

    Raises CommandError for one that has passed.
    """
    remedy = "write it like 90d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z"
    match = re.fullmatch(r"([0-9]{1,5})(d|h)", text)
    try:
        if match:
            at = now + (timedelta(days=int(match[1])) if match[2] == "d" else timedelta(hours=int(match[1])))
        elif re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            at = datetime.fromisoformat(text).replace(tzinfo=UTC) + timedelta(days=1)
        else:
            at = datetime.fromisoformat(text)
            if at.tzinfo is None:
                raise ValueError(text)
    except (ValueError, OverflowError):
        raise CommandError(f"--expires {text[:60]!r} is not a time", remedy, USAGE) from None
    if at <= now:
        raise CommandError(f"--expires {text} has passed", remedy, USAGE)
    return at.astimezone(UTC).replace(microsecond=0)


def expiry_warnings(keys: Iterable[Key], now: datetime) -> list[str]:
    """The login messages about keys that end soon or have ended."""
    lines = []
    for key in keys:
        if key.expires is None or key.expires - now > EXPIRY_WARNING:
            continue
        what = f"Your key {key.name} ({key.fingerprint[:19]}...)"
        if key.over(now):
            lines.append(f"{what} ended on {key.expires:%Y-%m-%d}; `keys remove {key.name}` takes it away.")
        else:
            days = (key.expires - now).days
            when = f"in {days} days" if days > 1 else "within two days"
            lines.append(f"{what} ends {when}, on {key.expires:%Y-%m-%d %H:%M} UTC; `keys add` adds another.")
    return lines
