"""What is shown: times, tables, timelines, reasons, events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from devctl import wait
from devctl.commands import describe
from devctl.output import progress, tables, times
from devctl.resources import events, server_state

FINGERPRINT = "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA"
NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (-5, "0s"), (119, "119s"), (120, "2m00s"), (599, "9m59s"), (600, "10m"), (3660, "1h01m"),
     (90000, "1d1h"), (864000, "10d")],
)  # fmt: skip
def test_a_length_of_time(seconds: float, text: str) -> None:
    assert times.duration(seconds) == text


def test_ages_need_no_zone_but_understand_one() -> None:
    assert times.age("2026-01-01T11:59:00Z", NOW) == "60s"
    assert times.age("2026-01-01T13:59:00+02:00", NOW) == "60s"
    assert times.age("nonsense", NOW) == "-"
    assert times.until("2026-01-01T14:30:00Z", NOW) == "2h30m"


def test_a_table_is_aligned_and_holds_no_escape_sequences(capsys: pytest.CaptureFixture[str]) -> None:
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
def test_a_table_is_fitted_into_a_terminal(width: int, header: list[str], row: list[str]) -> None:
    whole = ["mydev", "cpu-small", "3m", "no node is free for it " * 2]
    found, rows = tables.fit(["NAME", "FLAVOR", "AGE", "REASON"], [whole], width)
    assert found == header
    assert rows == [row]


def test_describe_masks_what_looks_like_a_secret_unless_asked() -> None:
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


def test_ready_needs_a_status_of_the_newest_spec() -> None:
    ready = [condition("True", "")]
    assert server_state.is_ready(server(observedGeneration=2, conditions=ready))
    assert not server_state.is_ready(server(observedGeneration=1, conditions=ready))
    assert not server_state.is_ready(server(observedGeneration=2, conditions=[condition("False", "no")]))
    assert not server_state.is_ready({"metadata": {"generation": 1}, "spec": {}})


def test_each_stage_has_the_seconds_it_took() -> None:
    timeline = [
        {"stage": "Accepted", "at": "2026-01-01T12:00:01Z"},
        {"stage": "SSHReady", "at": "2026-01-01T12:00:04Z"},
    ]
    one = server(timeline=timeline)
    assert server_state.stages(one) == [("Accepted", 0.0), ("SSHReady", 3.0)]


def test_the_newest_start_counts() -> None:
    one = server()
    one["metadata"]["annotations"] = {
        "devservers.io/started-at": "2026-01-02T00:00:00Z",
        "devservers.io/restarted-at": "2026-01-01T23:00:00Z",
    }
    assert server_state.last_start_time(one) == "2026-01-02T00:00:00Z"


def test_the_reason_is_the_operators_message() -> None:
    assert (
        server_state.not_ready_reason(server(conditions=[condition("False", "no node is free")])) == "no node is free"
    )
    assert server_state.not_ready_reason(server(conditions=[condition("True", "running")])) is None
    assert server_state.not_ready_reason(server()) is None


def test_lines_of_a_start_come_once_each(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_describe_says_why_and_what_next() -> None:
    text = "\n".join(
        describe.description(server(phase="Failed", conditions=[condition("False", "image x is unknown")]))
    )
    assert "Reason:       image x is unknown" in text
    assert "mydev-home" in text
    stopped = "\n".join(describe.description(server(phase="Stopped", stopReason="ttl")))
    assert "Stopped by:   ttl" in stopped
    assert "devctl start mydev" in stopped


def test_the_fingerprint_is_the_one_ssh_shows() -> None:
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
def test_an_event_belongs_to_a_server_by_its_childrens_names(kind: str, name: str, expected: bool) -> None:
    assert events.concerns({"involvedObject": {"kind": kind, "name": name}}, "mydev") is expected
