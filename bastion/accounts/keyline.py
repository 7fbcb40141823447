"""Invariant: what comes out of here is a key that sshd can read, without options and without a comment.

A line's own idea of what it is (its first word) must be what its body says, so that nothing but a key of a known
kind is ever written where sshd looks for keys. Pure.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

KEY_TYPES = frozenset(
    {
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)
MOST_CHARACTERS = 8192


class BadKey(ValueError):
    """Not a public key as a .pub file has it; the text says why in a few words."""


@dataclass(frozen=True)
class PublicKey:
    """A public key: its type and its base64 body."""

    kind: str
    body: str

    @property
    def text(self) -> str:
        """As in authorized_keys, without options."""
        return f"{self.kind} {self.body}"

    @property
    def fingerprint(self) -> str:
        """`SHA256:...`, as ssh-keygen -l prints it and sshd logs it."""
        digest = hashlib.sha256(base64.b64decode(self.body)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def parse(line: object) -> PublicKey:
    """The key of a .pub file's line; whatever follows the key is dropped. Raises BadKey."""
    if not isinstance(line, str):
        raise BadKey("not text")
    if len(line) > MOST_CHARACTERS:
        raise BadKey(f"longer than {MOST_CHARACTERS} characters")
    if any(char in line for char in "\n\r\0"):
        raise BadKey("more than one line")
    words = line.split(" ")
    if len(words) < 2 or words[0] not in KEY_TYPES:
        raise BadKey("no key type at its start; options are not allowed")
    kind, body = words[0], words[1]
    try:
        blob = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise BadKey("its body is not base64") from None
    fields = _fields(blob)
    if len(fields) < 2 or fields[0] != kind.encode():
        raise BadKey("its body is not a key of the type it names")
    # Written anew, so that two spellings of one key are one key.
    return PublicKey(kind, base64.b64encode(blob).decode())


def _fields(blob: bytes) -> list[bytes]:
    """The length-prefixed strings of a key's body (RFC 4253, 6.6); nothing when they don't fill it exactly."""
    found, at = [], 0
    while at < len(blob):
        size = int.from_bytes(blob[at : at + 4], "big")
        end = at + 4 + size
        if len(blob) < at + 4 or end > len(blob):
            return []
        found.append(blob[at + 4 : end])
        at = end
    return found
