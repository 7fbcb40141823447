"""Messages of the bastion's audit process, and the fields of a log line.

A request is {"v", "event", "fields"}; fields that an event does not have are ignored, and null counts as absent. An
answer is {"ok": true, "session", "record"} or {"ok": false, "busy", "error"}; the events of UNANSWERED have none.

Every login imports this module, so it loads `json` only for what a login does not do.
"""

from __future__ import annotations

from devservers_core.protocol import ProtocolError

try:
    from _json import encode_basestring_ascii as _quoted  # what `json` uses, without the 5 ms that `json` takes to load
except ImportError:
    from json.encoder import encode_basestring_ascii as _quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

VERSION = 1
"""Of requests and answers."""
LINE_VERSION = 1
"""Of a line of the audit log (bastion/audit/schema.json)."""
EVENTS = (
    "conn_open", "auth_fail", "session_start", "command_start", "command_end", "forward_open", "forward_denied",
    "denied", "session_end", "conn_close", "drain", "revoked", "recording",
)  # fmt: skip
KINDS = ("shell", "exec", "jump", "denied")
TEXT_FIELDS = (
    "session", "conn", "replica", "user", "key_fp", "src_ip", "client_version", "kind", "target", "signal", "reason",
)  # fmt: skip
NUMBER_FIELDS = ("uid", "src_port", "exit", "bytes_in", "bytes_out", "duration_ms")
LINE_FIELDS = (
    "ts", "v", "event", "session", "conn", "replica", "user", "uid", "key_fp", "src_ip", "src_port", "client_version",
    "kind", "argv", "target", "exit", "signal", "bytes_in", "bytes_out", "duration_ms", "reason", "truncated",
)  # fmt: skip
"""The fields of a log line in their order; a field without a value is left out."""
MAX_ARGV_BYTES = 4096
"""Of argv in a log line; the rest is cut and `truncated` is set."""
MAX_ARGUMENTS = 256
"""Of argv in a log line, each of which is searched for secrets; `truncated` is set when there were more."""
MAX_TEXT_CHARACTERS = 512
"""Of any other string of a log line."""
MAX_REQUEST_BYTES = {"argv": 32768, "data": 32768}
"""Of a field in a request, as it is encoded: six bytes for a character that is not ASCII. A log line keeps fewer.

A request with every field at its limit is below MAX_LINE_BYTES, so the server reads each one to its end.
"""
MAX_REQUEST_TEXT_BYTES = 6144
"""Of any other string in a request."""
MAX_NUMBER = 2**53
"""Below this every reader of JSON keeps all digits."""

SESSION_FIELDS = ("kind", "argv", "target", "exit", "signal", "duration_ms", "bytes_in", "bytes_out", "reason")
"""What a session program may say of itself; who it is comes from the kernel and from sshd."""
TERMINAL_FIELDS = ("columns", "rows")
_CONNECTION_FIELDS = ("conn", "user", "key_fp", "src_ip", "src_port", "client_version")
SESSION_EVENTS = {
    "session_start": (*SESSION_FIELDS, "src_ip", "src_port", *TERMINAL_FIELDS),
    "command_start": SESSION_FIELDS,
    "command_end": SESSION_FIELDS,
    "denied": SESSION_FIELDS,
}
"""What a session program may report, each with its fields."""
UNANSWERED: dict[str, tuple[str, ...]] = {"output": ("data",), "resize": TERMINAL_FIELDS}
"""What a recorded session shows, each with its fields; these are not answered."""
SUPERVISOR_EVENTS = {
    "conn_open": (*_CONNECTION_FIELDS, "refused"),
    "auth_fail": (*_CONNECTION_FIELDS, "reason"),
    "forward_open": ("conn", "kind", "target"),
    "forward_denied": ("conn", "kind", "target"),
    "denied": ("conn", "reason"),
    "conn_close": ("conn", "duration_ms", "reason"),
    "drain": ("reason",),
    "revoked": ("conn", "reason"),
}
"""What the supervisor may report, each with its fields."""
_TEXTS = frozenset({*TEXT_FIELDS, "data", "refused"})
_NUMBERS = frozenset({*NUMBER_FIELDS, *TERMINAL_FIELDS})
_ACCEPTED = b'{"ok": true'
_BUSY = b'{"ok": false, "busy": true'
_RECORD = b'"record": true'
_SEPARATOR_BYTES = 4
"""Quotes, comma and space of one argument."""


def encode_request(event: str, fields: Mapping[str, object]) -> bytes:
    """A request as one line of at most MAX_LINE_BYTES; strings beyond their limits are cut."""
    pairs = ", ".join(f"{_quoted(name)}: {_encode_value(name, value)}" for name, value in fields.items())
    return f'{{"v": {VERSION}, "event": {_quoted(event)}, "fields": {{{pairs}}}}}\n'.encode("ascii")


def parse_request(line: bytes) -> tuple[str, dict[str, Any]]:
    """The event and its fields. Raises ProtocolError."""
    import json

    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise ProtocolError("not a request") from None
    if not isinstance(message, dict) or not isinstance(message.get("event"), str):
        raise ProtocolError("not a request")
    if message.get("v", VERSION) != VERSION:
        raise ProtocolError(f"this audit process takes requests of version {VERSION}")
    event, fields = message["event"], message.get("fields") or {}
    if not isinstance(fields, dict):
        raise ProtocolError("not a request")
    names = {*SESSION_EVENTS.get(event, ()), *SUPERVISOR_EVENTS.get(event, ()), *UNANSWERED.get(event, ())}
    values = {name: value for name, value in fields.items() if name in names and value is not None}
    for name, value in values.items():
        if not _fits(name, value):
            raise ProtocolError(f"{name} of {event} has a value of the wrong type")
    return event, values


def accepted(session: str | None = None, record: bool | None = None) -> dict[str, object]:
    """The answer that the event is written.

    session_start is told its session, and whether it is recorded.
    """
    answer: dict[str, object] = {"ok": True}
    if session is not None:
        answer["session"] = session
    if record is not None:
        answer["record"] = record
    return answer


def refused(error: str, busy: bool = False) -> dict[str, object]:
    """The answer that the event is not written.

    `busy`: the command may run later, and the session goes on.
    """
    return {"ok": False, **({"busy": True} if busy else {}), "error": error}


def encode_answer(answer: Mapping[str, object]) -> bytes:
    """An answer as one line, `ok` first."""
    import json

    return json.dumps(answer).encode() + b"\n"


def is_accepted(line: bytes) -> bool:
    """Whether an answer says that the event is written."""
    return line.startswith(_ACCEPTED)


def is_recorded(line: bytes) -> bool:
    """Whether the answer to session_start asks for what the terminal shows."""
    return is_accepted(line) and _RECORD in line


def is_busy(line: bytes) -> bool:
    """Whether an answer refuses one command and not the session."""
    return line.startswith(_BUSY)


def error_of(line: bytes) -> str:
    """Why an answer refuses, in one line."""
    import json

    try:
        return " ".join(str(json.loads(line)["error"]).split())
    except (ValueError, KeyError, TypeError):
        return "the audit process gave an answer that cannot be read"


def _encode_value(name: str, value: object) -> str:
    room = MAX_REQUEST_BYTES.get(name, MAX_REQUEST_TEXT_BYTES)
    if isinstance(value, str):
        return _encode_text(value, room)
    if isinstance(value, list):
        kept = []
        for argument in value:
            if room < _SEPARATOR_BYTES:
                break
            kept.append(_encode_text(str(argument), room - _SEPARATOR_BYTES))
            room -= len(kept[-1]) - 2 + _SEPARATOR_BYTES
        return f"[{', '.join(kept)}]"
    return str(int(value)) if isinstance(value, int) else "null"


def _encode_text(text: str, room: int) -> str:
    """A text in quotes, cut until it fits into ``room`` bytes without them."""
    text = text[:room]
    encoded = str(_quoted(text))
    while len(encoded) - 2 > room:
        # By its mean length of a character; characters are never split, so it takes a few rounds.
        text = text[: min(len(text) - 1, len(text) * room // (len(encoded) - 2))]
        encoded = str(_quoted(text))
    return encoded


def _fits(name: str, value: object) -> bool:
    if name == "argv":
        return isinstance(value, list) and all(isinstance(argument, str) for argument in value)
    if name == "kind":
        return value in KINDS
    if name in _TEXTS:
        return isinstance(value, str)
    return name in _NUMBERS and type(value) is int and abs(value) < MAX_NUMBER
