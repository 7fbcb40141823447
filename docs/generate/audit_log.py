"""The reference of the bastion's audit log, from the schema of its lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bastion import audit
from docs.generate import NOTICE, cell

_SCHEMA = Path(audit.__file__).with_name("schema.json")
_INTRODUCTION = """\
# The audit log

For administrators who read or collect it. The container `audit` of each bastion pod prints one line of JSON for each
event; a field without a value is left out. Secrets on command lines are masked where they are recognized.

```console
kubectl logs -n devservers-bastion -l app.kubernetes.io/name=devservers-bastion -c audit
```

A command that ann ran looks like this:

```json
"""
_EXAMPLE = {
    "ts": "2026-11-30T08:15:00.123Z",
    "v": 1,
    "event": "command_end",
    "session": "f3a9c1",
    "conn": "8b21d7",
    "replica": "bastion-6c9d5f7b8-x2x7k",
    "user": "ann",
    "uid": 20000,
    "kind": "exec",
    "argv": ["devctl", "stop", "mydev"],
    "exit": 0,
    "duration_ms": 412,
}


def page() -> str:
    """The page, in Markdown."""
    schema = json.loads(_SCHEMA.read_text())
    text = f"{NOTICE}{_INTRODUCTION}{json.dumps(_EXAMPLE)}\n```\n\n| field | type | meaning |\n| --- | --- | --- |\n"
    for name, field in schema["properties"].items():
        always = " Always there." if name in schema["required"] else ""
        text += f"| `{name}` | {_type(field)} | {cell(field.get('description', '') + always)} |\n"
    events = ", ".join(f"`{each}`" for each in schema["properties"]["event"]["enum"])
    return f"{text}\nEvents: {events}.\n"


def _type(field: dict[str, Any]) -> str:
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    if "enum" in field:
        return f"one of {len(field['enum'])} words"
    return f"list of {field['items']['type']}" if field["type"] == "array" else str(field["type"])
