"""The audit process's messages: both ends agree on each, and a field of the wrong type is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from bastion.session.recorded import CHUNK
from devservers_core.protocol import MAX_LINE_BYTES, ProtocolError, audit

EVENTS = {
    name: set(audit.SESSION_EVENTS.get(name, ()))
    | set(audit.SUPERVISOR_EVENTS.get(name, ()))
    | set(audit.UNANSWERED.get(name, ()))
    for name in (*audit.SESSION_EVENTS, *audit.SUPERVISOR_EVENTS, *audit.UNANSWERED)
}
NUMBERS = {*audit.NUMBER_FIELDS, *audit.TERMINAL_FIELDS}


def right(name: str) -> Any:
    """A value of the field's type."""
    if name == "argv":
        return ["devctl", "create", "\u00e9\udcff\n", ""]
    if name == "kind":
        return "shell"
    return 40022 if name in NUMBERS else "text \u2028\x1b\udcff"


def wrong(name: str) -> list[Any]:
    """Values of other types."""
    if name == "argv":
        return ["devctl", [1], [None], {"0": "devctl"}, 1]
    if name == "kind":
        return ["root", "", 1, ["shell"]]
    if name in NUMBERS:
        return ["1", 1.5, True, [1], 2**53, -(2**53)]
    return [1, True, ["x"], {"x": "y"}, 1.5]


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_request_with_every_field_comes_back_as_it_was(event: str) -> None:
    fields = {name: right(name) for name in EVENTS[event]}
    line = audit.encode_request(event, fields)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert audit.parse_request(line) == (event, fields)


@pytest.mark.parametrize(("event", "name"), sorted((event, name) for event in EVENTS for name in EVENTS[event]))
def test_request_with_a_field_of_the_wrong_type_is_refused(event: str, name: str) -> None:
    for value in wrong(name):
        line = json.dumps({"event": event, "fields": {name: value}}).encode()
        with pytest.raises(ProtocolError, match=f"^{name} of {event} "):
            audit.parse_request(line)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff",
        b"[" * 5000,
        b"{}",
        b'{"event": 7}',
        b'{"event": "drain", "fields": 7}',
    ],
)
def test_line_that_is_no_request_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="not a request"):
        audit.parse_request(line)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_request_of_another_version_is_refused(version: object) -> None:
    with pytest.raises(ProtocolError, match="version 1"):
        audit.parse_request(json.dumps({"v": version, "event": "drain"}).encode())


def test_field_of_another_event_and_null_are_left_out() -> None:
    line = audit.encode_request("conn_open", {"conn": "c1", "key_fp": None, "session": "s1", "uid": 0})
    assert audit.parse_request(line) == ("conn_open", {"conn": "c1"})


def test_event_of_nobody_has_no_fields() -> None:
    assert audit.parse_request(audit.encode_request("session_end", {"reason": "x"})) == ("session_end", {})


def test_events_of_requests_and_lines_agree() -> None:
    assert set(audit.EVENTS) >= set(audit.SESSION_EVENTS) | set(audit.SUPERVISOR_EVENTS)
    assert not set(audit.EVENTS) & set(audit.UNANSWERED)
    assert set(audit.SESSION_FIELDS) <= set(audit.LINE_FIELDS)


def test_request_with_long_text_is_cut() -> None:
    line = audit.encode_request("denied", {"argv": ["x" * 10**6, "y"], "reason": "z" * 10**6})
    _, fields = audit.parse_request(line)
    assert fields["argv"] == ["x" * (audit.MAX_REQUEST_BYTES["argv"] - 4)]
    assert fields["reason"] == "z" * audit.MAX_REQUEST_TEXT_BYTES


@pytest.mark.parametrize("text", ["x", "\u00e9", "\U0001d11e", "\x01", '"'], ids=ascii)
@pytest.mark.parametrize("event", [*audit.SESSION_EVENTS, *audit.SUPERVISOR_EVENTS, *audit.UNANSWERED])
def test_request_with_every_field_at_its_limit_is_one_line_that_the_server_reads(event: str, text: str) -> None:
    tables = (audit.SESSION_EVENTS, audit.SUPERVISOR_EVENTS, audit.UNANSWERED)
    names = {name for table in tables for name in table.get(event, ())}
    fields: dict[str, object] = dict.fromkeys(names, text * 100000)
    fields |= dict.fromkeys(names & {*audit.NUMBER_FIELDS, *audit.TERMINAL_FIELDS}, 2**53 - 1)
    if "kind" in names:
        fields["kind"] = "denied"
    for argv in (["a", text * 70_000], [""] * 20_000, [text] * 20_000):
        if "argv" in names:
            fields["argv"] = argv
        line = audit.encode_request(event, fields)
        assert len(line) <= MAX_LINE_BYTES
        _, found = audit.parse_request(line)
        assert set(found) == names
        if "reason" in names:
            assert found["reason"] == text * len(found["reason"])
            assert len(found["reason"]) >= 512, "what a log line keeps"


def test_request_with_text_at_its_limit_keeps_a_terminals_chunk() -> None:
    shown = "\x1b" * CHUNK
    assert audit.parse_request(audit.encode_request("output", {"data": shown}))[1] == {"data": shown}


@pytest.mark.parametrize(
    ("answer", "accepted", "recorded", "busy"),
    [
        (audit.accepted(), True, False, False),
        (audit.accepted("s1"), True, False, False),
        (audit.accepted("s1", False), True, False, False),
        (audit.accepted("s1", True), True, True, False),
        (audit.refused("why\nnot"), False, False, False),
        (audit.refused("later", busy=True), False, False, True),
        (audit.refused('{"ok": true, "record": true'), False, False, False),
    ],
)
def test_answer_is_read_as_it_was_meant(answer: dict[str, Any], accepted: bool, recorded: bool, busy: bool) -> None:
    line = audit.encode_answer(answer)
    assert json.loads(line) == answer
    assert (audit.is_accepted(line), audit.is_recorded(line), audit.is_busy(line)) == (accepted, recorded, busy)
    if not accepted:
        assert audit.error_of(line) == " ".join(answer["error"].split())


@pytest.mark.parametrize("line", [b"", b"ok", b"{}", b"[1]", b"null", b'{"ok": "true"}', b'{"ok": 1, "record": true}'])
def test_answer_of_another_shape_is_a_refusal(line: bytes) -> None:
    assert not audit.is_accepted(line)
    assert not audit.is_recorded(line)
    assert "cannot be read" in audit.error_of(line)


def test_encoder_without_cpythons_c_module_writes_the_same() -> None:
    """`_json` is CPython's own; another interpreter, or a later one, may have none."""
    fields = {"argv": ['a\u00e9\udcff\n"\\', "\u2028"], "reason": "\U0001d11e\x7f"}
    program = (
        "import sys\n"
        "sys.modules['_json'] = None\n"
        "from devservers_core.protocol.audit import encode_request\n"
        f"sys.stdout.write(encode_request('denied', {fields!a}).decode())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert done.stdout == audit.encode_request("denied", fields)
