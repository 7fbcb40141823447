"""OpenSSH public keys: the line of a .pub file, and the fingerprint.

Invariant: a parsed key has a known type, and its body is a key of that type (RFC 4253, 6.6), so its text can be
written where sshd looks for keys.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field

from devservers_core.errors import InvalidValueError

KEY_TYPE = r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
"""The first word of a public key."""
PUBLIC_KEY, PUBLIC_KEY_MAX = rf"^{KEY_TYPE} AAAA[A-Za-z0-9+/]+={{0,3}}( [^\n\r\x00]*)?$", 8192
"""The line of a .pub file, without options before it."""
KEY_NAME, KEY_NAME_MAX = r"^[A-Za-z0-9][A-Za-z0-9._@-]*$", 64
"""What a person calls a key, like laptop."""
MIN_RSA_BITS = 2048
"""sshd's RequiredRSASize on the bastion."""


class InvalidKeyError(InvalidValueError):
    """Not the line of a public key; the text says why in a few words."""


class DamagedKeyError(InvalidKeyError):
    """The line of a public key whose body can't be read."""


@dataclass(frozen=True)
class PublicKey:
    """A public key: its type and its base64 body. Two keys that differ in their comment are equal."""

    kind: str
    body: str
    comment: str = field(default="", compare=False)
    rsa_bits: int | None = field(default=None, compare=False)
    """Length of an RSA key's modulus; None for every other type."""

    @property
    def text(self) -> str:
        """As in authorized_keys, without options and without the comment."""
        return f"{self.kind} {self.body}"

    @property
    def fingerprint(self) -> str:
        """`SHA256:...`, as ssh-keygen -l prints it and sshd logs it."""
        digest = hashlib.sha256(base64.b64decode(self.body)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def parse(line: object) -> PublicKey:
    """The key of a .pub file's line. Raises InvalidKeyError."""
    if not isinstance(line, str):
        raise InvalidKeyError("not text")
    if len(line) > PUBLIC_KEY_MAX:
        raise InvalidKeyError(f"longer than {PUBLIC_KEY_MAX} characters")
    if any(char in line for char in "\n\r\0"):
        raise InvalidKeyError("more than one line")
    kind, _, rest = line.partition(" ")
    body, _, comment = rest.partition(" ")
    if not rest or re.fullmatch(KEY_TYPE, kind, re.ASCII) is None:
        raise InvalidKeyError("no key type at its start; options are not allowed")
    try:
        blob = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise DamagedKeyError("its body is not base64") from None
    fields = _fields(blob)
    if len(fields) < 2 or fields[0] != kind.encode():
        raise DamagedKeyError("its body is not a key of the type it names")
    bits = None
    if kind == "ssh-rsa":
        bits = int.from_bytes(fields[2], "big").bit_length() if len(fields) == 3 else 0
    # Written anew, so that two spellings of one key are one key.
    return PublicKey(kind, base64.b64encode(blob).decode(), comment.strip(), bits)


def ed25519(text: str) -> PublicKey | None:
    """The ssh-ed25519 key in `text`, words apart by any blanks and whatever follows.

    None when it is none.
    """
    try:
        key = parse(" ".join(text.split()[:2]))
    except InvalidKeyError:
        return None
    return key if key.kind == "ssh-ed25519" else None


def _fields(blob: bytes) -> list[bytes]:
    """The length-prefixed strings of a key's body.

    Nothing when they don't fill it exactly.
    """
    fields, at = [], 0
    while at < len(blob):
        size = int.from_bytes(blob[at : at + 4], "big")
        end = at + 4 + size
        if len(blob) < at + 4 or end > len(blob):
            return []
        fields.append(blob[at + 4 : end])
        at = end
    return fields
