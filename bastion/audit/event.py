"""Invariant: an event is one line of JSON, whatever went into it: known fields in a fixed order, every string
bounded, control characters escaped, secrets masked.

Pure. schema.json beside this file says the same for those who read the lines; a test holds the two together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from devservers_core.commandline import mask
from devservers_core.masking import MASK

VERSION = 1
EVENTS = (
    "conn_open", "auth_fail", "session_start", "command_start", "command_end", "forward_open", "forward_denied",
    "denied", "session_end", "conn_close", "drain", "revoked", "recording",
)  # fmt: skip
KINDS = ("shell", "exec", "jump", "denied")
TEXTS = (
    "session", "conn", "replica", "user", "key_fp", "src_ip", "client_version", "kind", "target", "signal", "reason",
)  # fmt: skip
NUMBERS = ("uid", "src_port", "exit", "bytes_in", "bytes_out", "duration_ms")
ORDER = (
    "ts", "v", "event", "session", "conn", "replica", "user", "uid", "key_fp", "src_ip", "src_port", "client_version",
    "kind", "argv", "target", "exit", "signal", "bytes_in", "bytes_out", "duration_ms", "reason", "truncated",
)  # fmt: skip
"""The fields of a line as they follow each other; one that says nothing is left out."""
MOST_ARGV = 4096
"""Bytes of argv; more than that is cut and `truncated` says so."""
MOST_WORDS = 256
"""Words of argv, each of which is looked through for secrets; `truncated` says that there were more."""
MOST_TEXT = 512
"""Characters of any other string."""
_USERINFO_CUT = re.compile(r"(://[^/\s:@]*+):[^/\s@]++\Z")


def line(fields: Mapping[str, Any], at: datetime) -> str:
    """The line for an event, without its end. What isn't a known field of the right type is left out."""
    found: dict[str, Any] = {}
    truncated = bool(fields.get("truncated"))
    for name in TEXTS:
        value = fields.get(name)
        if isinstance(value, str):
            text = _clean(value[: MOST_TEXT + 1])
            truncated |= len(text) > MOST_TEXT
            found[name] = mask([text[:MOST_TEXT]])[0][:MOST_TEXT]
    for name in NUMBERS:
        value = fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
            found[name] = value
    if isinstance(argv := fields.get("argv"), list | tuple):
        # First cut and then masked: how long that takes is nothing a person should decide.
        words, cut = _cut([_clean(str(word)[: MOST_ARGV + 1]) for word in argv[:MOST_WORDS]])
        cut |= len(argv) > MOST_WORDS
        if cut and words:
            words[-1] = _USERINFO_CUT.sub(rf"\g<1>:{MASK}", words[-1])
        found["argv"], longer = _cut(mask(words))
        truncated |= cut or longer
    if found.get("kind") not in KINDS:
        found.pop("kind", None)
    found |= {"ts": f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z", "v": VERSION, "event": fields["event"]}
    if truncated:
        found["truncated"] = True
    text = json.dumps({name: found[name] for name in ORDER if name in found}, ensure_ascii=True, separators=(",", ":"))
    return text.replace("\x7f", "\\u007f")  # the one control character that JSON leaves as it is


def _cut(argv: list[str]) -> tuple[list[str], bool]:
    kept: list[str] = []
    room = MOST_ARGV
    for word in argv:
        size = len(word.encode())
        if size > room:
            return [*kept, word.encode()[:room].decode(errors="ignore")], True
        kept.append(word)
        room -= size + 1
        if room <= 0:
            return kept, len(kept) < len(argv)
    return kept, False


def _clean(text: str) -> str:
    """Text without lone surrogates, which not every reader of JSON takes: a byte that was no text becomes \\xNN."""
    return (
        text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") if _encodable(text) else repr(text)
    )


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
