"""JSON Schema of the audit log's lines, made of the protocol's tables.

`python -m bastion.audit.schema > bastion/audit/schema.json` writes the file that readers of the log are given.
"""

from __future__ import annotations

import json
import sys

from devservers_core.protocol.audit import (
    EVENTS,
    KINDS,
    LINE_FIELDS,
    LINE_VERSION,
    MAX_ARGV_BYTES,
    MAX_TEXT_CHARACTERS,
    NUMBER_FIELDS,
    TEXT_FIELDS,
)
from devservers_core.types import Json

REQUIRED = ("ts", "v", "event", "replica")
DESCRIPTIONS = {
    "ts": "When, UTC, by the audit process's clock.",
    "v": "Version of this schema.",
    "session": "The same on every line of one session.",
    "conn": "The same on every line of one SSH connection.",
    "replica": "The pod.",
    "user": "The account; of auth_fail, the name that was tried.",
    "uid": "The account's uid, from the kernel.",
    "key_fp": "Fingerprint of the key that was used, SHA256.",
    "argv": f"At most {MAX_ARGV_BYTES} bytes in all; secrets are ***.",
    "target": "HOST:PORT of a forward.",
    "bytes_in": "From the client.",
    "bytes_out": "To the client.",
    "truncated": "Something in this line was longer.",
}
_TYPES: Json = {
    **{name: {"type": "string", "maxLength": MAX_TEXT_CHARACTERS} for name in TEXT_FIELDS},
    **{name: {"type": "integer"} for name in NUMBER_FIELDS},
    "ts": {"type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"},
    "v": {"const": LINE_VERSION},
    "event": {"enum": list(EVENTS)},
    "kind": {"enum": list(KINDS)},
    "argv": {"type": "array", "items": {"type": "string"}},
    "truncated": {"const": True},
}


def schema() -> Json:
    """The schema of one line."""
    properties = {
        name: _TYPES[name] | ({"description": DESCRIPTIONS[name]} if name in DESCRIPTIONS else {})
        for name in LINE_FIELDS
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"One line of the bastion's audit log, version {LINE_VERSION}",
        "type": "object",
        "additionalProperties": False,
        "required": list(REQUIRED),
        "properties": properties,
    }


def text() -> str:
    """The file's text, a property a line."""
    found = schema()
    properties = ",\n".join(f"    {json.dumps(name)}: {json.dumps(rule)}" for name, rule in found["properties"].items())
    head = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in found.items() if name != "properties"]
    return "{\n" + ",\n".join([*head, f'  "properties": {{\n{properties}\n  }}']) + "\n}\n"


if __name__ == "__main__":
    sys.stdout.write(text())
