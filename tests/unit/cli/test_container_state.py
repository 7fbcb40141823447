"""What a container tells about its command, in words."""

from __future__ import annotations

from typing import Any

import pytest

from devctl.container_state import ended
from devctl.logs import OF_THE_PLATFORM


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
def test_the_end_of_a_command_is_its_code_or_its_signal(found: dict[str, Any], words: str | None) -> None:
    assert ended(found) == words


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        (b"devserver-init: the command ended; the server stays: exit code 4\n", True),
        (b"2026-11-30T00:28:16.123456789Z devserver-init: x\n", True),
        (b"loss 0.1\n", False),
        (b"starting devserver-init: no\n", False),
    ],
)
def test_a_line_of_the_first_process_is_told_from_the_commands_own(line: bytes, ours: bool) -> None:
    assert bool(OF_THE_PLATFORM.match(line)) == ours
