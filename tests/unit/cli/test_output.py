"""Tests times, tables, timelines, reasons and events on the screen."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from devctl import wait
from devctl.commands.servers import describe
from devctl.output import progress, tables, times
from devctl.resources import events, server_state

FINGERPRINT = "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA"
NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (-5, "0s"), (119, "119s"), (120, "2m00s"), (599, "9m59s"), (600, "10m"), (3660, "1h01m"),
     (90000, "1d1h"), (864000, "10d")],
)  # fmt: skip
def test_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    assert times.duration(seconds) == text


def test_age_with_and_without_zone_is_computed() -> None:
    assert times.age("2026-01-01T11:59:00Z", NOW) == "60s"
    assert times.age("2026-01-01T13:59:00+02:00", NOW) == "60s"
    assert times.age("nonsense", NOW) == "-"
    assert times.until("2026-01-01T14:30:00Z", NOW) == "2h30m"


def test_table_cells_are_aligned_without_escape_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    tables.table(["A", "LONGER"], [["wide cell", "x"], ["\x1b[31mred", "y"]], lambda *_: "red")
    assert capsys.readouterr().out == "A           LONGER\nwide cell   x\n [31mred    y\n"


@pytest.mark.parametrize(
    ("width", "header", "row"),
    [
        (80, ["NAME", "FLAVOR", "AGE", "REASON"], ["mydev", "cpu-small", "3m", "no node is free for it " * 2]),
        (50, ["NAME", "FLAVOR", "AGE", "REASON"], ["mydev", "cpu-small", "3m", "no node is free for it…"]),
        (36, ["NAME", "FLAVOR", "REASON"], ["mydev", "cpu-small", "no node is free…"]),
        (10, ["NAME", "FLAVOR", "REASON"], ["mydev", "cpu-small", "no node is…"]),
    ],
)
def test_fit_narrow_terminal_cuts_and_drops_columns(width: int, header: list[str], row: list[str]) -> None:
    whole = ["mydev", "cpu-small", "3m", "no node is free for it " * 2]
    found, rows = tables.fit(["NAME", "FLAVOR", "AGE", "REASON"], [whole], width)
    assert found == header
    assert rows == [row]


def test_describe_secret_is_masked_unless_show_env() -> None:
    one = server()
    one["spec"] |= {
        "env": [{"name": "API_TOKEN", "value": "x1"}, {"name": "EPOCHS", "value": "3"},
                {"name": "REPO", "value": "https://u:x2@h/r"}],
        "command": ["train", "--api-key", "x3", "DB_PWD=x4"],
    }  # fmt: skip
    masked = "\n".join(describe.description(one))
    assert "API_TOKEN=***" in masked
    assert "EPOCHS=3" in masked
    assert "https://u:***@h/r" in masked
    assert "train --api-key '***' 'DB_PWD=***'" in masked
    shown = "\n".join(describe.description(one, show_env=True))
    assert "***" not in shown
    assert all(f"x{n}" in shown for n in (1, 2, 3, 4))


def server(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "mydev", "namespace": "dev-ann", "generation": 2, "creationTimestamp": "2026-01-01T12:00:00Z"
        },
        "spec": {"flavor": "cpu-small", "persistentHomeSize": "10Gi"},
        "status": status,
    }  # fmt: skip


def condition(status: str, message: str) -> dict[str, str]:
    return {"type": "Ready", "status": status, "message": message, "reason": "X"}


def test_is_ready_stale_status_is_false() -> None:
    ready = [condition("True", "")]
    assert server_state.is_ready(server(observedGeneration=2, conditions=ready))
    assert not server_state.is_ready(server(observedGeneration=1, conditions=ready))
    assert not server_state.is_ready(server(observedGeneration=2, conditions=[condition("False", "no")]))
    assert not server_state.is_ready({"metadata": {"generation": 1}, "spec": {}})


def test_stages_timeline_gives_seconds() -> None:
    timeline = [
        {"stage": "Accepted", "at": "2026-01-01T12:00:01Z"},
        {"stage": "SSHReady", "at": "2026-01-01T12:00:04Z"},
    ]
    one = server(timeline=timeline)
    assert server_state.stages(one) == [("Accepted", 0.0), ("SSHReady", 3.0)]


def test_last_start_time_is_the_newest() -> None:
    one = server()
    one["metadata"]["annotations"] = {
        "devservers.io/started-at": "2026-01-02T00:00:00Z",
        "devservers.io/restarted-at": "2026-01-01T23:00:00Z",
    }
    assert server_state.last_start_time(one) == "2026-01-02T00:00:00Z"


def test_not_ready_reason_is_the_conditions_message() -> None:
    assert (
        server_state.not_ready_reason(server(conditions=[condition("False", "no node is free")])) == "no node is free"
    )
    assert server_state.not_ready_reason(server(conditions=[condition("True", "running")])) is None
    assert server_state.not_ready_reason(server()) is None


def test_line_display_prints_each_change_once(capsys: pytest.CaptureFixture[str]) -> None:
    plain, view = progress.LineDisplay(), progress.Progress("mydev", 0.0)
    accepted = {"stage": "Accepted", "at": "2026-01-01T12:00:01Z"}
    for conditions, timeline in [
        ([condition("False", "pulling")], [accepted]),
        ([condition("False", "pulling")], [accepted]),
        ([condition("False", "no such image")], [accepted]),
        ([condition("True", "")], [accepted, {"stage": "SSHReady", "at": "2026-01-01T12:00:09Z"}]),
    ]:
        current = server(phase="Starting", conditions=conditions, timeline=timeline)
        wait.update_progress(view, current)
        plain.show(view)
    lines = [" ".join(line.split()) for line in capsys.readouterr().err.splitlines()]
    assert lines == ["Accepted 0.0s", "Starting: pulling", "Starting: no such image", "SSHReady 8.0s"]


def test_describe_failed_server_names_reason_and_remedy() -> None:
    text = "\n".join(
        describe.description(server(phase="Failed", conditions=[condition("False", "image x is unknown")]))
    )
    assert "Reason:       image x is unknown" in text
    assert "mydev-home" in text
    stopped = "\n".join(describe.description(server(phase="Stopped", stopReason="expired")))
    assert "Stopped by:   expired" in stopped
    assert "devctl start mydev" in stopped


def test_describe_fingerprint_equals_ssh_keygens() -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
    text = "\n".join(describe.description(server(sshHostKey=key)))
    assert FINGERPRINT in text  # what `ssh-keygen -lf` prints for it


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("DevServer", "mydev", True),
        ("PersistentVolumeClaim", "mydev-home", True),
        ("ReplicaSet", "mydev-5d4f8c7b9f", True),
        ("Pod", "mydev-5d4f8c7b9f-x2x4z", True),
        ("Pod", "mydev-two-5d4f8c7b9f-x2x4z", False),
        ("DevServer", "mydev-two", False),
        ("PersistentVolumeClaim", "mydev-data", False),
    ],
)
def test_concerns_child_name_belongs_to_the_server(kind: str, name: str, expected: bool) -> None:
    assert events.concerns({"involvedObject": {"kind": kind, "name": name}}, "mydev") is expected


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+14:00"])
def test_parse_time_can_be_shown_in_every_zone(text: str) -> None:
    """A person writes the times of a server, and an administrator describes it."""
    at = times.parse_time(text)
    assert at is not None
    assert {at.astimezone(ZoneInfo(zone)).year for zone in ("UTC", "Pacific/Auckland")} <= {1970, 2200}
