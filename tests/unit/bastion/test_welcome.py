"""Tests the servers in the message of the day."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from bastion.session.welcome import servers


def server(name: str, phase: str = "Running", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"running": True}, "status": {"phase": phase, **status}}


def text(**left: float) -> str:
    return (datetime.now(UTC) + timedelta(**left)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_servers_shows_the_stop_that_comes_first_with_its_reason() -> None:
    idle = {"at": text(minutes=20.5), "reason": "idle", "announcedAt": text(minutes=-1)}
    lines = servers([server("mydev", plannedStop=idle, expiresAt=text(hours=5.01)), server("other")])
    assert re.fullmatch(r"  mydev  Running    stops in 20m\d*s? \(idle\)", lines[0]), lines
    assert lines[1] == "  other  Running"


def test_servers_of_a_stopped_server_shows_no_end() -> None:
    assert "stops in" not in servers([server("mydev", "Stopped", expiresAt=text(hours=5))])[0]
