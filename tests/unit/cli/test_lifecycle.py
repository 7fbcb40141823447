"""Tests `devctl stop`, `start`, `restart` and `delete`."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.cli.api_server import ApiServer
from tests.support.cli.run import Run

SERVER = "/apis/devservers.io/v1/namespaces/dev-ann/devservers/mydev"
HOME = "/api/v1/namespaces/dev-ann/persistentvolumeclaims/mydev-home"
ENDS = {"deletionTimestamp": "2026-01-02T00:00:00Z"}


def put_server(api: ApiServer, *, running: bool = True, status: dict[str, Any] | None = None, **spec: Any) -> None:
    asked = {"flavor": "cpu-small", "running": running, "persistentHomeSize": "10Gi", **spec}
    phase = "Running" if running else "Stopped"
    api.put(SERVER, spec={k: v for k, v in asked.items() if v is not None}, status={"phase": phase, **(status or {})})


def put_home(api: ApiServer, owner: str = "mydev", metadata: dict[str, str] | None = None) -> None:
    found = {"annotations": {"devservers.io/home-of": owner}, **(metadata or {})}
    api.put(HOME, metadata=found, spec={"resources": {"requests": {"storage": "10Gi"}}})


def written(api: ApiServer) -> list[tuple[str, str]]:
    return [(method, path) for method, path, _ in api.writes]


@pytest.mark.parametrize(
    ("spec", "kept"),
    [
        ({}, "its home is kept"),
        ({"persistentHomeSize": None}, "it had no persistent home"),
        ({"persistentHomeSize": None, "volumes": [{"claimName": "a", "mountPath": "/home/dev/"}]}, "its home is kept"),
        ({"persistentHomeSize": None, "volumes": [{"claimName": "a", "mountPath": "/d"}]}, "it had no persistent home"),
    ],
)
def test_stop_running_server_writes_running_false(api: ApiServer, devctl: Run, spec: dict[str, Any], kept: str) -> None:
    put_server(api, **spec)
    assert devctl("stop", "mydev").stderr == f"mydev is stopping; {kept}\n"
    assert api.writes == [("PATCH", SERVER, {"spec": {"running": False}})]


def test_stop_server_that_stopped_by_itself_says_that_it_is_stopped(api: ApiServer, devctl: Run) -> None:
    """Nothing of it runs any more; the change keeps a restart from starting it."""
    put_server(api, status={"phase": "Stopped", "stopReason": "idle"})
    assert devctl("stop", "mydev").stderr == "mydev is stopped; its home is kept\n"
    assert api.objects[SERVER]["spec"]["running"] is False


def test_stop_stopped_server_writes_nothing(api: ApiServer, devctl: Run) -> None:
    put_server(api, running=False)
    assert "stopped already" in devctl("stop", "mydev").stderr
    assert api.writes == []


@pytest.mark.parametrize(
    ("words", "typed", "code"),
    [([], None, 2), ([], "n\n", 1), ([], "\n", 1), ([], "yes\n", 0), ([], " Y \n", 0), (["--yes"], None, 0)],
)
@pytest.mark.parametrize("command", ["stop", "restart"])
def test_stop_home_being_deleted_asks_for_confirmation(
    api: ApiServer, devctl: Run, command: str, words: list[str], typed: str | None, code: int
) -> None:
    put_server(api)
    put_home(api, metadata=ENDS)
    done = devctl(command, "mydev", *words, code=code, typed=typed)
    assert "the home (mydev-home) is being deleted, and goes with all files in it" in done.stderr
    assert written(api) == ([] if code else [("PATCH", SERVER)])
    assert ("mydev is left as it is" in done.stderr) is (code == 1)


def test_start_stopped_server_restarts_its_time_to_live(api: ApiServer, devctl: Run) -> None:
    put_server(api, running=False)
    assert devctl("start", "mydev").stderr == "mydev is starting\n"
    ((method, path, change),) = api.writes
    assert (method, path) == ("PATCH", SERVER)
    assert change is not None
    assert change["spec"] == {"running": True}
    (stamp,) = change["metadata"]["annotations"].values()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", stamp)


def test_start_running_server_writes_nothing(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    assert "started already" in devctl("start", "mydev").stderr
    assert api.writes == []


def test_start_server_stopped_by_time_limit_starts_it(api: ApiServer, devctl: Run) -> None:
    """Its spec still says that it runs."""
    put_server(api, status={"phase": "Stopped"})
    devctl("start", "mydev")
    assert written(api) == [("PATCH", SERVER)]


@pytest.mark.parametrize(("typed", "code"), [("n\n", 1), ("y\n", 0)])
def test_start_lost_home_asks_for_confirmation(api: ApiServer, devctl: Run, typed: str, code: int) -> None:
    put_server(api, running=False, status={"timeline": [{"stage": "Accepted"}]})
    done = devctl("start", "mydev", typed=typed, code=code)
    assert "its home mydev-home is gone: it starts with an empty one" in done.stderr
    assert bool(api.writes) is (code == 0)


def test_restart_running_server_writes_the_annotation_only(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    assert devctl("restart", "mydev").stderr == "mydev is restarting\n"
    ((_, _, change),) = api.writes
    assert change is not None
    assert change.keys() == {"metadata"}
    assert change["metadata"]["annotations"].keys() == {"devservers.io/restarted-at"}


def test_restart_stopped_server_is_refused(api: ApiServer, devctl: Run) -> None:
    put_server(api, running=False)
    assert "`devctl start mydev` starts it" in devctl("restart", "mydev", code=1).stderr
    assert api.writes == []


def test_restart_expired_server_is_refused(api: ApiServer, devctl: Run) -> None:
    put_server(api, status={"phase": "Stopped", "stopReason": "expired"})
    assert "try: `devctl start mydev` starts it" in devctl("restart", "mydev", code=1).stderr
    assert api.writes == []


def test_restart_missing_flavor_is_refused(api: ApiServer, devctl: Run) -> None:
    put_server(api, flavor="gone")
    assert "its flavor gone no longer exists; it is left as it is" in devctl("restart", "mydev", code=6).stderr
    assert api.writes == []


@pytest.mark.parametrize("command", ["stop", "start", "restart", "delete"])
def test_lifecycle_unknown_server_suggests_a_similar_name(api: ApiServer, devctl: Run, command: str) -> None:
    put_server(api)
    done = devctl(command, "mydv", *(["--yes"] if command == "delete" else []), code=3)
    assert "mydv" in done.stderr
    assert "mydev" in done.stderr
    assert api.writes == []


def test_delete_without_purge_keeps_the_home(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    put_home(api)
    done = devctl("delete", "mydev", "--yes")
    assert "mydev is deleted" in done.stderr
    assert "its home mydev-home is kept" in done.stderr
    assert written(api) == [("DELETE", SERVER)]
    assert HOME in api.objects


def test_delete_with_purge_deletes_the_home(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    put_home(api)
    done = devctl("delete", "mydev", "--purge", typed="y\n")
    assert "Delete server mydev and the home mydev-home (10Gi) with everything in it? [y/N]" in done.stderr
    assert written(api) == [("DELETE", SERVER), ("DELETE", HOME)]


def test_delete_with_purge_keeps_a_foreign_claim_of_the_homes_name(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    put_home(api, owner="other")
    assert "it had no home to delete" in devctl("delete", "mydev", "--purge", "--yes").stderr
    assert written(api) == [("DELETE", SERVER)]
    assert HOME in api.objects


def test_delete_home_without_server_needs_purge(api: ApiServer, devctl: Run) -> None:
    put_home(api)
    done = devctl("delete", "mydev", "--yes", code=3)
    assert "there is no server mydev, only its home mydev-home" in done.stderr
    assert api.writes == []
    devctl("delete", "mydev", "--yes", "--purge")
    assert written(api) == [("DELETE", HOME)]


@pytest.mark.parametrize(("typed", "code"), [(None, 2), ("no\n", 1)])
def test_delete_unconfirmed_deletes_nothing(api: ApiServer, devctl: Run, typed: str | None, code: int) -> None:
    put_server(api)
    devctl("delete", "mydev", typed=typed, code=code)
    assert api.writes == []


def test_delete_server_gone_meanwhile_succeeds(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    api.refuse("DELETE", SERVER, (404, "not found"))
    devctl("delete", "mydev", "--yes")


def test_lifecycle_api_refusal_prints_two_lines(api: ApiServer, devctl: Run) -> None:
    put_server(api)
    api.refuse("PATCH", SERVER, (403, "devservers is forbidden: because"))
    done = devctl("stop", "mydev", code=4)
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error", "  try"]
