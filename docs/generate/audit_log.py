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

"""
_COMMON = {"ts": "2026-11-30T08:15:00.123Z", "v": 1}
_REPLICA = "bastion-6c9d5f7b8-x2x7k"
_EXAMPLES: dict[str, dict[str, Any]] = {
    "A command that ann ran": {
        "event": "command_end",
        "session": f"{_REPLICA}-f3a9c1-s7",
        "conn": "8b21d7-c5",
        "replica": _REPLICA,
        "user": "ann",
        "uid": 20000,
        "kind": "exec",
        "argv": ["devctl", "stop", "mydev"],
        "exit": 0,
        "duration_ms": 412,
    },
    "A login that was refused": {
        "event": "auth_fail",
        "replica": _REPLICA,
        "user": "eve",
        "src_ip": "203.0.113.7",
        "src_port": 50122,
        "reason": "there is no such user",
    },
    "A tunnel to a server": {
        "event": "forward_open",
        "conn": "8b21d7-c5",
        "replica": _REPLICA,
        "user": "ann",
        "uid": 20000,
        "kind": "jump",
        "target": "mydev.dev-ann.svc.cluster.local:22",
    },
}
_EVENTS = {
    "conn_open": "A connection is authenticated.",
    "auth_fail": "A connection ended or was refused before it was authenticated.",
    "session_start": "A session on a connection begins: a prompt or one command.",
    "command_start": "A command of the session starts.",
    "command_end": "It has ended, with its exit code or signal.",
    "forward_open": "A tunnel to a server is open.",
    "forward_denied": "A tunnel to somewhere else was refused.",
    "denied": "A command was not run, or a connection is ended; the reason is there.",
    "session_end": "A session is over.",
    "conn_close": "A connection is over.",
    "drain": "The pod takes no new logins because it goes, or has ended its last session.",
    "revoked": "A connection is ended because its key or user may no longer log in.",
    "recording": "Reserved; this version writes none.",
}
_KINDS = {
    "shell": "the prompt",
    "exec": "one command",
    "jump": "a tunnel",
    "denied": "something that was refused",
}
_MEANINGS = {
    "event": "What happened, see below.",
    "src_ip": "The client's address.",
    "src_port": "The client's port.",
    "client_version": "The software that the client says it is.",
    "exit": "The command's exit code.",
    "signal": "The signal that ended the command.",
    "duration_ms": "How long the command, session or connection lasted.",
    "reason": "Why something was refused or has ended.",
}
"""Of the fields that the schema describes by their names alone."""


def page() -> str:
    """The page, in Markdown."""
    schema = json.loads(_SCHEMA.read_text())
    fields = schema["properties"]
    text = NOTICE + _INTRODUCTION
    for title, line in _EXAMPLES.items():
        text += f"{title}:\n\n```json\n{json.dumps(_COMMON | line)}\n```\n\n"
    text += "## Fields\n\n| field | type | meaning |\n| --- | --- | --- |\n"
    for name, field in fields.items():
        meaning = field.get("description") or _MEANINGS.get(name) or _listed(field["enum"])
        always = " Always there." if name in schema["required"] else ""
        text += f"| `{name}` | {_type(field)} | {cell(meaning + always)} |\n"
    text += "\n## Events\n\n| event | meaning |\n| --- | --- |\n"
    return text + "".join(f"| `{event}` | {_EVENTS[event]} |\n" for event in fields["event"]["enum"])


def _listed(kinds: list[str]) -> str:
    """The kinds of a session or a tunnel with their meanings."""
    return "; ".join(f"`{kind}`: {_KINDS[kind]}" for kind in kinds) + "."


def _type(field: dict[str, Any]) -> str:
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    if "enum" in field:
        return f"one of {len(field['enum'])} words"
    return f"list of {field['items']['type']}" if field["type"] == "array" else str(field["type"])
