"""Tests `devctl extend`, `hold` and `release`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.cli.api_server import ApiServer
from tests.support.cli.run import Run

SERVER = "/apis/devservers.io/v1/namespaces/dev-ann/devservers/mydev"
FLAVOR = "/apis/devservers.io/v1/devserverflavors/cpu-small"
USER = "/apis/devservers.io/v1/devserverusers/ann"
NAMESPACE = "/api/v1/namespaces/dev-ann"
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devctl.commands.servers.extend.WAIT_SECONDS", 0.3)
    monkeypatch.setattr("devctl.commands.servers.hold.WAIT_SECONDS", 0.3)


def text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def put_server(
    api: ApiServer,
    expires: datetime | None = NOW + timedelta(hours=1),
    *,
    version: str = "1",
    lifecycle: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    uid: str = "u1",
    **spec: Any,
) -> None:
    observed = {"phase": "Running", **({"expiresAt": text(expires)} if expires else {}), **(status or {})}
    api.put(
        SERVER,
        metadata={"resourceVersion": version, "uid": uid, "creationTimestamp": text(NOW - timedelta(hours=1))},
        spec={"flavor": "cpu-small", "lifecycle": lifecycle or {}, **spec},
        status=observed,
    )


def put_limits(api: ApiServer, flavor: dict[str, str], user: dict[str, str] | None = None) -> None:
    api.put(FLAVOR, spec={"resources": {}, "lifecycle": flavor})
    if user is not None:
        api.put(USER, spec={"lifecycle": user})


def with_operator(api: ApiServer) -> None:
    """An operator that takes up each extension at once."""

    def observe() -> None:
        server = api.objects[SERVER]
        if end := server["spec"]["lifecycle"].get("extendUntil"):
            server["status"]["expiresAt"] = end

    api.after[("PATCH", SERVER)] = observe


def change(api: ApiServer) -> dict[str, Any]:
    ((method, path, body),) = api.writes
    assert (method, path) == ("PATCH", SERVER)
    assert body is not None
    return body


@pytest.mark.parametrize("words", [["2h"], ["--time", "2h"]])
def test_extend_adds_to_the_end_with_the_version_that_was_read(api: ApiServer, devctl: Run, words: list[str]) -> None:
    put_server(api)
    with_operator(api)
    done = devctl("extend", "mydev", *words)
    assert change(api) == {
        "metadata": {"uid": "u1", "resourceVersion": "1"},
        "spec": {"lifecycle": {"extendUntil": text(NOW + timedelta(hours=3))}},
    }
    assert api.queries == [{"fieldManager": "devctl", "fieldValidation": "Strict"}]
    assert "mydev now stops at " in done.stderr
    assert re.search(r", in (2h[0-9]{2}m|3h00m)\n", done.stderr)


def test_extend_until_a_time_sets_it(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    with_operator(api)
    end = (NOW + timedelta(hours=5)).astimezone(UTC)
    done = devctl("extend", "mydev", "--until", end.isoformat())
    assert change(api)["spec"] == {"lifecycle": {"extendUntil": text(end)}}
    assert f"mydev now stops at {end:%Y-%m-%d %H:%M} UTC" in done.stderr


@pytest.mark.parametrize(
    ("server", "words", "code", "says"),
    [
        (
            {"running": False, "status": {"phase": "Stopped", "stopReason": "idle"}},
            ["2h"],
            1,
            "mydev is stopped (idle)",
        ),
        ({"status": {"phase": "Stopped", "stopReason": "expired"}}, ["2h"], 1, "`devctl start mydev` starts it"),
        ({"status": {"phase": "Stopped", "stopReason": "suspended"}}, ["2h"], 4, "is suspended"),
        ({"expires": None}, ["2h"], 1, "has no time limit"),
        ({}, ["soon"], 6, "neither a duration nor a time"),
        ({}, ["0s"], 6, "neither a duration nor a time"),
        ({}, ["99999d"], 6, "beyond the year 2199"),
        ({}, [], 2, "no time is given"),
        ({}, ["2h", "--time", "3h"], 2, "more than one time"),
        ({}, ["--until", "2020-01-01T00:00:00Z"], 6, "in the past"),
        ({}, ["2h", "--override"], 2, "--override and --reason belong together"),
        ({}, ["2h", "--reason", "because"], 2, "--override and --reason belong together"),
        ({}, ["2h", "--override", "--reason", "a\nb"], 6, "write one line"),
        ({}, ["2h", "--override", "--reason", "x" * 201], 6, "at most 200 characters"),
    ],
)
def test_extend_what_cannot_be_is_refused(
    api: ApiServer, devctl: Run, server: dict[str, Any], words: list[str], code: int, says: str
) -> None:
    put_server(api, **server)
    assert says in devctl("extend", "mydev", *words, code=code).stderr
    assert api.writes == []


def test_extend_until_an_earlier_time_is_refused(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    done = devctl("extend", "mydev", "--until", text(NOW + timedelta(minutes=50)), code=6)
    assert "is not later than the end that mydev has" in done.stderr
    assert api.writes == []


@pytest.mark.parametrize(
    ("flavor", "user", "allowed"),
    [
        ({"maxExtension": "1h"}, None, "1h"),
        ({"maxExtension": "4h"}, {"maxExtension": "30m"}, "30m"),
        # It has run for one hour, and its end is in another.
        ({"maxTimeToLive": "3h"}, None, "1h"),
        ({"maxTimeToLive": "3h", "maxExtension": "30m"}, None, "30m"),
    ],
)
def test_extend_over_the_limit_is_refused_with_the_number(
    api: ApiServer, devctl: Run, flavor: dict[str, str], user: dict[str, str] | None, allowed: str
) -> None:
    put_limits(api, flavor, user)
    put_server(api)
    done = devctl("extend", "mydev", "2h", code=6)
    assert f"take {allowed} or less" in done.stderr
    assert api.writes == []
    with_operator(api)
    devctl("extend", "mydev", allowed)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("extend", "mydev", "3h"), "take 1h or less"),
        (("hold", "mydev", "3h", "--reason", "x"), "at most 2h"),
        (("update", "mydev", "--idle-timeout", "3h"), "at most 30m"),
    ],
)
def test_limits_of_a_user_who_may_not_read_them_are_read_on_their_namespace(
    api: ApiServer, devctl: Run, words: tuple[str, ...], says: str
) -> None:
    """People read their namespace and not their DevServerUser: nothing is written that a limit refuses."""
    put_server(api)
    put_limits(api, {"maxExtension": "8h", "maxHold": "8h"})
    api.refusals[("GET", USER)] = [(403, "not yours")]
    limits = '{"maxExtension": "1h", "maxHold": "2h", "maxIdleTimeout": "30m"}'
    api.put(NAMESPACE, metadata={"annotations": {"devservers.io/lifecycle-limits": limits}})
    assert says in devctl(*words, code=6).stderr
    assert api.writes == []


@pytest.mark.parametrize("text", ["", "{", "[1]", "7", "null", '{"maxExtension": ["1h"]}', '{"maxExtension": "soon"}'])
def test_limits_on_the_namespace_that_are_none_limit_nothing(api: ApiServer, devctl: Run, text: str) -> None:
    put_server(api)
    with_operator(api)
    api.refusals[("GET", USER)] = [(403, "not yours")]
    api.put(NAMESPACE, metadata={"annotations": {"devservers.io/lifecycle-limits": text}})
    devctl("extend", "mydev", "3h")


def test_extend_twice_counts_from_the_end_without_extensions(api: ApiServer, devctl: Run) -> None:
    put_limits(api, {"maxExtension": "1h"})
    ends = NOW + timedelta(hours=1, minutes=40)
    put_server(api, ends, lifecycle={"timeToLive": "2h", "extendUntil": text(ends)})
    assert "take 20m or less" in devctl("extend", "mydev", "1h", code=6).stderr


def test_extend_at_the_limit_says_that_nothing_is_left(api: ApiServer, devctl: Run) -> None:
    put_limits(api, {"maxTimeToLive": "2h"})
    put_server(api)
    assert "its end can't move any further" in devctl("extend", "mydev", "1m", code=6).stderr


def test_extend_with_override_writes_the_reason_and_no_limit_counts(api: ApiServer, devctl: Run) -> None:
    put_limits(api, {"maxExtension": "1m"})
    put_server(api)
    with_operator(api)
    devctl("extend", "mydev", "2h", "--override", "--reason", "release week")
    assert change(api)["spec"]["lifecycle"]["override"] == {"reason": "release week"}


@pytest.mark.parametrize(
    "words",
    [["extend", "mydev", "2h"], ["hold", "mydev", "9h", "--reason", "demo"], ["update", "mydev", "--time", "9h"]],
)
def test_no_limit_counts_for_a_server_with_an_override(api: ApiServer, devctl: Run, words: list[str]) -> None:
    put_limits(api, {"maxExtension": "1m", "maxHold": "1m", "maxTimeToLive": "8h"})
    put_server(api, lifecycle={"override": {"reason": "demo"}})
    with_operator(api)
    devctl(*words)
    change(api)


def test_extend_no_override_takes_it_away_also_from_a_stopped_server(api: ApiServer, devctl: Run) -> None:
    put_server(api, lifecycle={"override": {"reason": "demo"}}, running=False, status={"phase": "Stopped"})
    done = devctl("extend", "mydev", "--no-override")
    assert change(api) == {
        "metadata": {"uid": "u1", "resourceVersion": "1"},
        "spec": {"lifecycle": {"override": None}},
    }
    assert "the limits of flavor and user count for mydev again" in done.stderr


def test_extend_no_override_without_one_changes_nothing(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    assert "mydev has no override" in devctl("extend", "mydev", "--no-override").stderr
    assert api.writes == []


@pytest.mark.parametrize("words", [["2h"], ["--override", "--reason", "demo"], ["--until", "18:00"]])
def test_extend_no_override_with_another_option_is_refused(api: ApiServer, devctl: Run, words: list[str]) -> None:
    put_server(api, lifecycle={"override": {"reason": "demo"}})
    assert "--no-override stands alone" in devctl("extend", "mydev", "--no-override", *words, code=2).stderr
    assert api.writes == []


def test_extend_status_written_meanwhile_is_tried_again(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    with_operator(api)
    api.before[("PATCH", SERVER)] = [lambda: put_server(api, version="2")]
    devctl("extend", "mydev", "2h")
    assert [body["metadata"]["resourceVersion"] for _, _, body in api.writes if body] == ["1", "2"]


def test_extend_by_two_at_once_tells_the_second(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    other = NOW + timedelta(hours=3)
    lifecycle = {"extendUntil": text(other)}
    api.before[("PATCH", SERVER)] = [lambda: put_server(api, other, version="2", lifecycle=lifecycle)]
    done = devctl("extend", "mydev", "2h", code=1)
    assert (
        "somebody else changed lifecycle.extendUntil of mydev at the same time; your change was not made" in done.stderr
    )
    assert len(api.writes) == 1


def test_extend_counts_from_an_extension_that_the_operator_has_not_seen(api: ApiServer, devctl: Run) -> None:
    """Else two hours that are asked for at once would become one."""
    put_server(api, lifecycle={"extendUntil": text(NOW + timedelta(hours=2))}, status={"observedGeneration": 1})
    api.objects[SERVER]["metadata"]["generation"] = 2
    devctl("extend", "mydev", "1h", code=5)
    assert change(api)["spec"] == {"lifecycle": {"extendUntil": text(NOW + timedelta(hours=3))}}


def test_extend_server_made_anew_meanwhile_is_left_alone(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    api.before[("PATCH", SERVER)] = [lambda: put_server(api, version="9", uid="u2")]
    assert "deleted and made anew meanwhile" in devctl("extend", "mydev", "2h", code=1).stderr


def test_extend_always_in_conflict_ends(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    api.refuse("PATCH", SERVER, (409, "the object has been modified"))
    devctl("extend", "mydev", "2h", code=1)
    assert len(api.writes) == 8


def test_extend_without_an_operator_times_out(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    assert "has not taken up the new end of mydev" in devctl("extend", "mydev", "2h", code=5).stderr


@pytest.mark.parametrize(("granted", "code", "says"), [(0, 6, "can't be extended"), (30, 0, "less than you asked for")])
def test_extend_limited_by_the_operator_says_so(
    api: ApiServer, devctl: Run, granted: int, code: int, says: str
) -> None:
    """Whoever may not read the user's limits learns them from the condition."""
    put_server(api)

    def limit() -> None:
        status = api.objects[SERVER]["status"]
        status["expiresAt"] = text(NOW + timedelta(minutes=60 + granted))
        status["conditions"] = [{"type": "TimeLimited", "status": "True", "message": "at most 30m by the account"}]

    api.after[("PATCH", SERVER)] = limit
    done = devctl("extend", "mydev", "2h", code=code)
    assert says in done.stderr
    assert "at most 30m by the account" in done.stderr


def test_hold_writes_until_and_reason(api: ApiServer, devctl: Run) -> None:
    put_server(api, None)
    end = NOW + timedelta(hours=8)
    done = devctl("hold", "mydev", "--until", end.isoformat(), "--reason", "a long training")
    assert change(api) == {
        "metadata": {"uid": "u1", "resourceVersion": "1"},
        "spec": {"lifecycle": {"hold": {"until": text(end), "reason": "a long training"}}},
    }
    assert done.stderr == f"mydev is held until {end:%Y-%m-%d %H:%M} UTC\n"


def test_hold_beyond_the_time_limit_says_that_it_comes_first(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    done = devctl("hold", "mydev", "8h", "--reason", "training")
    assert "its time limit comes first" in done.stderr
    assert "`devctl extend mydev` moves it" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["8h"], 2, "the reason is missing"),
        (["8h", "--reason", "  "], 2, "the reason is missing"),
        (["--reason", "x"], 2, "no time is given"),
        (["9h", "--reason", "x"], 6, "a hold of 9h00m is too long: at most 8h00m is allowed"),
        (["0m", "--reason", "x"], 6, "neither a duration nor a time"),
    ],
)
def test_hold_what_cannot_be_is_refused(api: ApiServer, devctl: Run, words: list[str], code: int, says: str) -> None:
    put_limits(api, {"maxHold": "8h"})
    put_server(api)
    assert says in devctl("hold", "mydev", *words, code=code).stderr
    assert api.writes == []


def test_hold_of_a_stopped_server_is_refused(api: ApiServer, devctl: Run) -> None:
    put_server(api, status={"phase": "Stopped"}, running=False)
    assert "so you can't hold it" in devctl("hold", "mydev", "8h", "--reason", "x", code=1).stderr


def test_release_removes_the_hold_only(api: ApiServer, devctl: Run) -> None:
    put_server(api, lifecycle={"timeToLive": "2h", "hold": {"until": text(NOW + timedelta(hours=8)), "reason": "x"}})
    assert devctl("release", "mydev").stderr == "mydev is released\n"
    assert change(api)["spec"] == {"lifecycle": {"hold": None}}
    assert api.objects[SERVER]["spec"]["lifecycle"] == {"timeToLive": "2h"}


def test_release_without_a_hold_writes_nothing(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    assert devctl("release", "mydev").stderr == "mydev has no hold\n"
    assert api.writes == []


def test_start_clears_the_extension(api: ApiServer, devctl: Run) -> None:
    put_server(api, lifecycle={"timeToLive": "2h", "extendUntil": text(NOW)}, running=False)
    devctl("start", "mydev")
    assert change(api)["spec"] == {"running": True, "lifecycle": {"extendUntil": None}}


def test_start_after_its_point_in_time_is_refused(api: ApiServer, devctl: Run) -> None:
    put_server(api, lifecycle={"expirationTime": text(NOW - timedelta(hours=1))}, status={"phase": "Stopped"})
    done = devctl("start", "mydev", code=6)
    assert "mydev would stop at once" in done.stderr
    assert "`devctl update mydev --time 2h`" in done.stderr
    assert api.writes == []
