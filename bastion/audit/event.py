"""Writes an event as a line of the audit log.

Invariant: an event is one line of JSON, whatever went into it: known fields in a fixed order, every string bounded,
control characters escaped, secrets masked.

Pure. schema.json beside this file describes the lines for those who read them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from devservers_core.command_masking import mask
from devservers_core.masking import MASK
from devservers_core.protocol.audit import (
    KINDS,
    LINE_FIELDS,
    LINE_VERSION,
    MAX_ARGUMENTS,
    MAX_ARGV_BYTES,
    MAX_NUMBER,
    MAX_TEXT_CHARACTERS,
    NUMBER_FIELDS,
    TEXT_FIELDS,
)

_USERINFO_CUT = re.compile(r"(://[^/\s:@]*+):[^/\s@]++\Z")


def line(fields: Mapping[str, Any], at: datetime) -> str:
    """The line for an event, without its end. What isn't a known field of the right type is left out."""
    event_fields: dict[str, Any] = {}
    truncated = bool(fields.get("truncated"))
    for name in TEXT_FIELDS:
        value = fields.get(name)
        if isinstance(value, str):
            text = _clean(value[: MAX_TEXT_CHARACTERS + 1])
            truncated |= len(text) > MAX_TEXT_CHARACTERS
            event_fields[name] = mask([text[:MAX_TEXT_CHARACTERS]])[0][:MAX_TEXT_CHARACTERS]
    for name in NUMBER_FIELDS:
        value = fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < MAX_NUMBER:
            event_fields[name] = value
    if isinstance(argv := fields.get("argv"), list | tuple):
        # First cut and then masked: how long that takes is nothing a person should decide.
        arguments, cut = _cut([_clean(str(word)[: MAX_ARGV_BYTES + 1]) for word in argv[:MAX_ARGUMENTS]])
        cut |= len(argv) > MAX_ARGUMENTS
        if cut and arguments:
            arguments[-1] = _USERINFO_CUT.sub(rf"\g<1>:{MASK}", arguments[-1])
        event_fields["argv"], longer = _cut(mask(arguments))
        truncated |= cut or longer
    if event_fields.get("kind") not in KINDS:
        event_fields.pop("kind", None)
    event_fields |= {
        "ts": f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
        "v": LINE_VERSION,
        "event": fields["event"],
    }
    if truncated:
        event_fields["truncated"] = True
    text = json.dumps(
        {name: event_fields[name] for name in LINE_FIELDS if name in event_fields},
        ensure_ascii=True,
        separators=(",", ":"),
    )
    return text.replace("\x7f", "\\u007f")  # the one control character that JSON leaves as it is


def _cut(argv: list[str]) -> tuple[list[str], bool]:
    kept: list[str] = []
    room = MAX_ARGV_BYTES
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
    r"""Text without lone surrogates, which not every reader of JSON takes: a byte that was no text becomes \\xNN."""
    return (
        text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") if _encodable(text) else repr(text)
    )


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
