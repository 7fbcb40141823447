"""Tests what devctl prints of a server's command: its arguments and its end."""

from __future__ import annotations

from typing import Any

import pytest

from devctl.commands.servers.describe import description
from devctl.commands.servers.logs import PLATFORM_LINE
from devctl.resources.container_state import describe_command_end, parse_command_end
from tests.support.leaks import LEAKS, SECRETS


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"at": "2026-01-01T00:00:00Z"}, None),
        ({}, None),
        ({"exitCode": 0}, "exit code 0"),
        ({"exitCode": 3}, "exit code 3"),
        ({"signal": 9}, "signal 9 (SIGKILL)"),
        ({"signal": 99}, "signal 99"),
    ],
)
def test_describe_command_end_gives_exit_code_or_signal(found: dict[str, Any], words: str | None) -> None:
    assert describe_command_end(found) == words


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"null", b"x", b"\xff", b'{"exitCode": 1e999}', b'{"signal": -1e999}', b'{"exitCode": null}',
     b'{"exitCode": "x"}', b"[" * 200000, b'{"exitCode": 1' + b"0" * 5000 + b"}", b'{"exitCode": {}, "at": []}'],
)  # fmt: skip
def test_parse_command_end_malformed_answer_is_none(answer: bytes) -> None:
    """The file is the server's owner's, and who asks may be an administrator."""
    assert parse_command_end(answer) is None


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        (b"devserver-agent: the command ended; the server stays: exit code 4\n", True),
        (b"devserver-init: the command ended; the server stays: exit code 4\n", True),
        (b"2026-11-30T00:28:16.123456789Z devserver-init: x\n", True),
        (b"loss 0.1\n", False),
        (b"starting devserver-init: no\n", False),
        (b"devserver-login: no\n", False),
    ],
)
def test_platform_line_matches_only_lines_of_the_first_process(line: bytes, ours: bool) -> None:
    assert bool(PLATFORM_LINE.match(line)) == ours


@pytest.mark.parametrize("words", LEAKS, ids=lambda words: " ".join(words)[:40])
def test_describe_command_with_secrets_is_masked_as_in_the_audit_log(words: list[str]) -> None:
    server = {"metadata": {"name": "x"}, "spec": {"command": words}}
    assert not [secret for secret in SECRETS if secret in "\n".join(description(server))]
    assert [secret for secret in SECRETS if secret in "\n".join(description(server, show_env=True))]
