"""Reads a public key from an argument, a file or standard input.

Invariant: a private key is refused, and never read further than the limit of a public key.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from devctl.resources.people import user_ssh_keys
from devservers_core.errors import USAGE, CommandError

MAX_FILE_BYTES = 65536
"""Largest size of a file that is read as a public key."""


def read_public_key(word: str, broker: str | None) -> str:
    """Read a public key from an argument: the key itself, `-` for stdin, or a file.

    Raises CommandError.

    With `broker`, on the bastion, no file is opened: its files are not the user's.
    """
    if _is_key(word) or "PRIVATE KEY" in word:
        return user_ssh_keys.parse_public_key(word)
    if broker and word != "-":
        raise CommandError(
            "the bastion has no file of yours",
            "give the key itself in quotes, or send it: `ssh USER@BASTION devctl keys add NAME - < FILE.pub`",
            USAGE,
        )
    try:
        text = sys.stdin.read(MAX_FILE_BYTES + 1) if word == "-" else _read_regular_file(Path(word).expanduser())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise CommandError(
            f"{word} cannot be read: {reason}", "give a .pub file, or - for standard input", USAGE
        ) from None
    if len(text) > MAX_FILE_BYTES:
        raise CommandError(f"{word} is too long for a public key", "give a .pub file, or - for standard input", USAGE)
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) > 1 and "PRIVATE KEY" not in text:
        raise CommandError(f"{word} has {len(lines)} lines", "give one key at a time", USAGE)
    return user_ssh_keys.parse_public_key(text if "PRIVATE KEY" in text else "".join(lines))


def _is_key(word: str) -> bool:
    return word.startswith(("ssh-", "ecdsa-", "sk-")) and " " in word


def _read_regular_file(path: Path) -> str:
    """Read the beginning of a regular file. Raises OSError for a device or a pipe."""
    # A pipe without a writer does not hang.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(None, "it is not a file of the usual kind")
        return file.read(MAX_FILE_BYTES + 1).decode()
