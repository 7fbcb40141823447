"""Tests what `list`, `describe` and other commands say of a stop: planned, past, and of a server that is gone."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from devctl.resources import pods
from devctl.resources.lifecycle import ended, planned
from devservers.api.devserver import DevServer
from devservers.observe.ends.ended import End, ended_config_map
from devservers_core.names import STOP_REASONS
from tests.support.cli.api_server import ApiServer
from tests.support.cli.run import Run

SERVER = "/apis/devservers.io/v1/namespaces/dev-ann/devservers/mydev"
ENDED = "/api/v1/namespaces/dev-ann/configmaps/mydev-ended"
HOME = "/api/v1/namespaces/dev-ann/persistentvolumeclaims/mydev-home"
NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def after(**passed: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=30, **passed)).strftime("%Y-%m-%dT%H:%M:%SZ")


def server(lifecycle: dict[str, Any] | None = None, *, running: bool = True, **status: Any) -> dict[str, Any]:
    spec = {"flavor": "cpu-small", "persistentHomeSize": "10Gi", "running": running, "lifecycle": lifecycle or {}}
    return {
        "metadata": {"name": "mydev", "namespace": "dev-ann", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": spec,
        "status": {"phase": "Running", **status},
    }


def put(api: ApiServer, one: dict[str, Any]) -> None:
    api.put(SERVER, **one)


def put_record(api: ApiServer, **data: str) -> None:
    labels = {"devservers.io/ended": "true", "devservers.io/name": "mydev"}
    api.put(ENDED, metadata={"labels": labels, "namespace": "dev-ann"}, data=data)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, "-"),
        ({"expiresAt": "2026-11-30T13:30:00Z"}, "1h30m"),
        ({"plannedStop": {"at": "2026-11-30T12:25:00Z", "reason": "idle"}}, "25m (idle)"),
        (
            {
                "expiresAt": "2026-11-30T13:30:00Z",
                "plannedStop": {"at": "2026-11-30T12:25:00Z", "reason": "workingHours"},
            },
            "25m (workingHours)",
        ),
        # What was announced may be later than a limit that was set since.
        (
            {"expiresAt": "2026-11-30T12:20:00Z", "plannedStop": {"at": "2026-11-30T12:25:00Z", "reason": "idle"}},
            "20m",
        ),
        ({"expiresAt": "2026-11-30T11:00:00Z"}, "0s"),
        ({"expiresAt": "soon"}, "-"),
        ({"phase": "Stopped", "expiresAt": "2026-11-30T13:30:00Z"}, "-"),
    ],
)
def test_stops_in_is_the_earliest_stop(status: dict[str, Any], expected: str) -> None:
    assert planned.stops_in(server(**status), NOW) == expected


@pytest.mark.parametrize(
    ("lifecycle", "status", "expected"),
    [
        ({}, {"expiresAt": "2026-11-30T12:31:00Z"}, None),
        (
            {},
            {"expiresAt": "2026-11-30T12:30:00Z"},
            "mydev stops in 30m (expired); `devctl extend mydev 2h` gives it more time",
        ),
        (
            {"onExpiry": "delete"},
            {"expiresAt": "2026-11-30T12:05:00Z"},
            "mydev is deleted in 5m00s (expired); `devctl extend mydev 2h` gives it more time",
        ),
        (
            {"onExpiry": "delete"},
            {"plannedStop": {"at": "2026-11-30T12:05:00Z", "reason": "idle"}},
            "mydev stops in 5m00s (idle); `devctl hold mydev 8h --reason TEXT` keeps it",
        ),
        (
            {},
            {"plannedStop": {"at": "2026-11-30T12:05:00Z", "reason": "budget"}},
            "mydev stops in 5m00s (budget)",
        ),
    ],
)
def test_notice_names_what_keeps_the_server(
    lifecycle: dict[str, Any], status: dict[str, Any], expected: str | None
) -> None:
    assert planned.notice(server(lifecycle, **status), NOW) == expected


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        ({}, 20),
        ({"until": "2026-11-30T16:00:00Z", "requestedUntil": "2026-11-30T20:00:00Z"}, 16),  # maxHold
        ({"until": "2026-11-30T11:00:00Z", "requestedUntil": "2026-11-30T20:00:00Z"}, None),
        ({"until": "2026-11-30T16:00:00Z", "requestedUntil": "2026-11-30T19:00:00Z"}, 20),  # of the hold before
    ],
)
def test_hold_until_is_what_counts(counted: dict[str, str], expected: int | None) -> None:
    one = server({"hold": {"until": "2026-11-30T20:00:00Z", "reason": "training"}}, hold=counted)
    assert planned.hold_until(one, NOW) == (NOW.replace(hour=expected) if expected else None)


def test_notice_of_a_server_without_a_persistent_home_says_what_is_lost() -> None:
    soon = server(plannedStop={"at": "2026-11-30T12:05:00Z", "reason": "idle"})
    del soon["spec"]["persistentHomeSize"]
    assert planned.notice(soon, NOW) == (
        "mydev stops in 5m00s (idle), and its files in /home/dev are lost;"
        " `devctl hold mydev 8h --reason TEXT` keeps it"
    )


@pytest.mark.parametrize(
    ("words", "code", "warned"),
    [
        (("exec", "mydev", "--", "true"), 3, True),
        (("logs", "mydev"), 3, True),
        (("ssh", "mydev"), 1, True),
        (("ssh", "--user", "ann", "mydev"), 1, True),
        (("proxy", "mydev"), 255, False),
        (("stop", "mydev"), 0, False),
    ],
)
def test_command_warns_of_a_server_that_stops_soon(
    api: ApiServer, devctl: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, warned: bool
) -> None:
    def refused(*_: object) -> int:
        raise ConnectionError("no connection in this test")

    monkeypatch.setattr("devctl.ssh.process.exec_", refused)
    monkeypatch.setattr("devctl.ssh.port_forward.STARTING_SECONDS", 0.0)
    put(api, server(expiresAt=after(minutes=10), podName="mydev-1"))
    done = devctl(*words, code=code)
    assert done.stderr.count("mydev stops in 10m") == int(warned)


@pytest.mark.parametrize(
    ("last", "ended", "restarted", "says"),
    [
        ({"reason": "outOfMemory", "message": "Its container ran out of memory."}, 4, None, True),
        ({"reason": "nodeLost"}, 4, None, True),
        ({"reason": "outOfMemory"}, 20, None, False),
        ({"reason": "outOfMemory", "at": "never"}, None, None, False),
        ({"reason": "user"}, 4, 2, False),
        (None, None, None, False),
    ],
)
def test_connection_to_a_server_that_ended_lately_says_why(
    api: ApiServer,
    devctl: Run,
    monkeypatch: pytest.MonkeyPatch,
    last: dict[str, str] | None,
    ended: float | None,
    restarted: float | None,
    says: bool,
) -> None:
    """The terminal that it closed could not always show it. Times are minutes ago."""
    monkeypatch.setattr("devctl.ssh.port_forward.STARTING_SECONDS", 0.0)
    one = server(podName="mydev-1")
    if last is not None:
        one["status"]["lastStop"] = last | ({"at": after(minutes=-ended)} if ended is not None else {})
    if restarted is not None:
        one["metadata"]["annotations"] = {"devservers.io/restarted-at": after(minutes=-restarted)}
    put(api, one)
    said = devctl("proxy", "mydev", code=255).stderr
    match = re.search(r"^warning: mydev ended 3m\d*s? ago, and was started again: (\w+): ", said, re.MULTILINE)
    assert (match and match[1]) == (last["reason"] if last and says else None)


def test_list_shows_the_reason_of_planned_and_past_stops(api: ApiServer, devctl: Run) -> None:
    hold = {"until": after(hours=7), "reason": "training"}
    put(
        api,
        server(
            {"hold": hold},
            plannedStop={"at": after(minutes=20), "reason": "workingHours"},
            lastActivity={"at": after(minutes=-46), "source": "ssh"},
        ),
    )
    api.put(SERVER + "2", **server(running=False, phase="Stopped", stopReason="idle"))
    plain = devctl("list").stdout
    assert "20m (workingHours)" in plain
    assert "stopped: idle" in plain
    assert "HOLD" not in plain
    wide = devctl("list", "-o", "wide").stdout.splitlines()
    assert "LAST ACTIVE" in wide[0]
    assert wide[1].split()[4:9] == ["20m", "(workingHours)", "45m", "(ssh)", "7h00m"]


def test_describe_shows_limits_hold_and_planned_stop(api: ApiServer, devctl: Run) -> None:
    lifecycle = {
        "timeToLive": "8h", "extendUntil": "2099-01-01T10:00:00Z", "override": {"reason": "release week"},
        "idleTimeout": "1h", "gracePeriod": "5m", "hold": {"until": "2099-01-01T00:00:00Z", "reason": "tra\x1bining"},
    }  # fmt: skip
    limited = {"type": "TimeLimited", "status": "True", "message": "at most 12h by the flavor"}
    put(api, server(lifecycle, expiresAt="2099-01-01T10:00:00Z", conditions=[limited]))
    shown = devctl("describe", "mydev", TZ="UTC").stdout
    assert "Time limit:   8h from the last start" in shown
    assert "Extended:     until 2099-01-01 10:00 UTC (beyond the limits: release week)" in shown
    assert "Idle timeout: 1h" in shown
    assert "Grace period: 5m" in shown
    assert "Held:         until 2099-01-01 00:00 UTC: tra ining" in shown
    assert "at 2099-01-01 10:00 UTC (expired)" in shown
    assert "TimeLimited:  at most 12h by the flavor" in shown


@pytest.mark.parametrize(
    ("lifecycle", "time", "idle"),
    [
        ({}, "12h from the last start (the flavor's default)", "1h (the flavor's default)"),
        ({"timeToLive": "2h", "idleTimeout": "30m"}, "2h from the last start\n", "30m\n"),
        ({"timeToLive": "20h", "autoShutdown": False}, "15h from the last start (the user's maxTimeToLive)",
         "4h (the flavor's maxIdleTimeout)"),
        ({"timeToLive": "20h", "autoShutdown": False, "override": {"reason": "demo"}}, "20h from the last start\n",
         "none\n"),
    ],
)  # fmt: skip
def test_describe_shows_the_times_in_force_and_where_they_come_from(
    api: ApiServer, devctl: Run, lifecycle: dict[str, Any], time: str, idle: str
) -> None:
    flavor = {"timeToLive": "12h", "idleTimeout": "1h", "maxIdleTimeout": "4h", "maxTimeToLive": "1d"}
    api.put("/apis/devservers.io/v1/devserverflavors/cpu-small", spec={"resources": {}, "lifecycle": flavor})
    api.put("/apis/devservers.io/v1/devserverusers/ann", spec={"lifecycle": {"maxTimeToLive": "15h"}})
    put(api, server(lifecycle))
    shown = devctl("describe", "mydev").stdout
    assert f"Time limit:   {time}" in shown
    assert f"Idle timeout: {idle}" in shown


def test_describe_shows_an_override_without_an_extension(api: ApiServer, devctl: Run) -> None:
    put(api, server({"override": {"reason": "release week"}}))
    assert "Override:     no limit of its flavor or owner counts: release week" in devctl("describe", "mydev").stdout


def test_describe_stopped_server_says_why_and_shows_its_last_output(api: ApiServer, devctl: Run) -> None:
    last = {"at": "2026-05-01T10:00:00Z", "reason": "idle", "message": "nothing happened in it for 1h", "oomKills": 2}
    put(api, server(running=False, phase="Stopped", stopReason="idle", lastStop=last))
    put_record(api, at="2026-05-01T10:00:00Z", lines="epoch 7\n\x1b[2Jepoch 8\n")
    shown = devctl("describe", "mydev").stdout
    assert "Stopped by:   idle: nothing happened in it for 1h" in shown
    assert "Memory:       2 processes killed because memory ran out" in shown
    assert "Last output before it ended:\n  epoch 7\n   [2Jepoch 8\n" in shown


@pytest.mark.parametrize("phase", ["Running", "Pending"])
def test_describe_server_that_ended_by_itself_says_why_and_shows_its_last_output(
    api: ApiServer, devctl: Run, phase: str
) -> None:
    """It runs again, or will."""
    message = "Everything that ran in it has ended: it was evicted."
    interrupted = {"type": "Interrupted", "status": "True", "reason": "Evicted", "message": message}
    last = {"at": "2026-05-01T10:00:00Z", "reason": "clusterDrained", "message": message}
    put(api, server(phase=phase, lastStop=last, conditions=[interrupted]))
    put_record(api, at="2026-05-01T10:00:00Z", oomKills="1", lines="epoch 7")
    shown = devctl("describe", "mydev").stdout
    assert " ago, clusterDrained\n" in shown
    assert shown.count(message) == 1
    assert "Memory:       1 process killed because memory ran out" in shown
    assert "Last output before it ended:\n  epoch 7\n" in shown


def test_describe_server_started_by_its_owner_since_shows_no_former_end(api: ApiServer, devctl: Run) -> None:
    last = {"at": "2026-05-01T10:00:00Z", "reason": "outOfMemory", "message": "Its container ran out of memory."}
    one = server(lastStop=last)
    put(api, one)
    put_record(api, at="2026-05-01T10:00:00Z", lines="epoch 7")
    shown = devctl("describe", "mydev").stdout
    assert "ago, outOfMemory: Its container ran out of memory.\n" in shown
    assert "epoch 7" in shown
    one["metadata"]["annotations"] = {"devservers.io/started-at": "2026-05-01T11:00:00Z"}
    put(api, one)
    shown = devctl("describe", "mydev").stdout
    assert "outOfMemory" not in shown
    assert "epoch 7" not in shown


@pytest.mark.parametrize("annotations", [{}, {"devservers.io/started-at": "2025-06-01T00:00:00Z"}])
def test_describe_record_of_a_former_run_is_not_shown(api: ApiServer, devctl: Run, annotations: dict[str, str]) -> None:
    one = server(running=False, phase="Stopped", stopReason="user")
    one["metadata"] |= {"annotations": annotations}
    if annotations:
        one["metadata"]["creationTimestamp"] = "2025-01-01T00:00:00Z"
    put(api, one)
    put_record(api, at="2025-05-01T10:00:00Z", lines="long ago")
    assert "long ago" not in devctl("describe", "mydev").stdout


def test_describe_trace_shows_seconds_of_each_stage(api: ApiServer, devctl: Run) -> None:
    stages = [("Accepted", "00:00:01"), ("Scheduled", "00:00:03"), ("SSHReady", "00:00:09.5")]
    put(api, server(timeline=[{"stage": stage, "at": f"2026-01-01T{at}Z"} for stage, at in stages]))
    lines = [line.split() for line in devctl("describe", "mydev", "--trace").stdout.splitlines()]
    assert lines[0] == ["STAGE", "AT", "TOOK", "SINCE", "START"]
    assert [(line[0], *line[2:]) for line in lines[1:]] == [
        ("Accepted", "0.0s", "0.0s"),
        ("Scheduled", "2.0s", "2.0s"),
        ("SSHReady", "6.5s", "8.5s"),
    ]


def test_describe_trace_without_a_start_says_so(api: ApiServer, devctl: Run) -> None:
    put(api, server())
    assert "has not been started yet" in devctl("describe", "mydev", "--trace").stderr


def test_describe_deleted_server_tells_its_end_and_how_to_get_the_home_back(api: ApiServer, devctl: Run) -> None:
    put_record(
        api, reason="outOfMemory", at="2026-05-01T10:00:00Z", startedAt="2026-05-01T08:00:00Z", oomKills="3",
        flavor="gpu-l4", image="debian:13", home="mydev-home", deleted="true", lines="loading\nKilled",
    )  # fmt: skip
    api.put(HOME, spec={"resources": {"requests": {"storage": "10Gi"}}})
    shown = devctl("describe", "mydev").stdout
    assert "Phase:        Deleted" in shown
    assert "Reason:       outOfMemory: it ran out of memory" in shown
    assert "Ran for:      2h00m" in shown
    assert "Memory:       3 processes killed because memory ran out" in shown
    assert "10Gi kept on volume claim mydev-home; `devctl create mydev gpu-l4` brings it back" in shown
    assert shown.endswith("  loading\n  Killed\n")
    assert json.loads(devctl("describe", "mydev", "-o", "json").stdout)["data"]["reason"] == "outOfMemory"


@pytest.mark.parametrize("labels", [{}, {"devservers.io/ended": "true", "devservers.io/name": "other"}])
def test_describe_other_configmap_of_that_name_is_not_taken_for_a_record(
    api: ApiServer, devctl: Run, labels: dict[str, str]
) -> None:
    api.put(ENDED, metadata={"labels": labels}, data={"reason": "idle"})
    assert "there is no server mydev" in devctl("describe", "mydev", code=3).stderr


def test_describe_record_that_is_broken_is_bounded(api: ApiServer, devctl: Run) -> None:
    put_record(api, at="yesterday", oomKills="many", lines="\n".join(f"{n} " + "x" * 5000 for n in range(500)))
    shown = devctl("describe", "mydev").stdout
    assert "Reason:       unknown" in shown
    assert len(shown) < 120_000
    assert shown.count("\n") < 120


def test_stopped_server_says_why_and_the_line_that_starts_it() -> None:
    """What ssh prints, in each of its forms."""
    last = {"reason": "idle", "message": "nothing happened in it for 1h"}
    failure = pods.stopped(server(running=False, phase="Stopped", stopReason="idle", lastStop=last))
    assert failure is not None
    assert failure.what == "mydev is stopped (idle: nothing happened in it for 1h)"
    assert failure.remedy == "`devctl start mydev --wait` starts it"


def test_describe_reads_the_record_that_the_operator_writes() -> None:
    """Both sides know the entries; here they meet."""
    metadata = {"name": "mydev", "namespace": "dev-ann", "creationTimestamp": "2026-01-01T00:00:00Z"}
    spec = {"flavor": "gpu-l4", "image": "debian:13", "persistentHomeSize": "10Gi"}
    timeline = [{"stage": "Accepted", "at": "2026-05-01T08:00:00Z"}]
    owned = DevServer.model_validate({"metadata": metadata, "spec": spec, "status": {"timeline": timeline}})
    end = End(datetime(2026, 5, 1, 10, tzinfo=UTC), "idle", "", deleted=True, lines=["epoch 7"], oom_kills=1)
    shown = "\n".join(ended.description("mydev", ended_config_map(owned, end), {}))
    assert "Reason:       idle: nothing happened in it" in shown
    assert "Ran for:      2h00m" in shown
    assert "Memory:       1 process killed because memory ran out" in shown
    assert "Flavor:       gpu-l4" in shown
    assert shown.endswith("Last output before it ended:\n  epoch 7")


def test_reasons_are_those_of_the_platform() -> None:
    assert planned.REASONS.keys() == set(STOP_REASONS)
