"""Tests the commands of runs: their command lines, and what is refused before a connection is made."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from devctl.command_line import parse
from devctl.resources.runs.reference import parse_run
from devctl.ssh import copy, run_stream
from devservers.api.devserver import DevServer
from devservers.observe.ends.ended import End, describe_runs, ended_config_map
from devservers_core.errors import CommandError
from devservers_core.names import LABEL_ENDED, LABEL_NAME
from devservers_core.protocol.agent.report import RunState
from tests.support.cli.api_server import ApiServer
from tests.support.cli.run import Run

ENDED = "/api/v1/namespaces/dev-ann/configmaps/mydev-ended"
SERVER = "/apis/devservers.io/v1/namespaces/dev-ann/devservers/mydev"


@pytest.mark.parametrize(
    ("words", "for_typer", "rest"),
    [
        ("run mydev train.py --lr 0.1 --name x", "run mydev train.py", "--lr 0.1 --name x"),
        ("run mydev train.py", "run mydev train.py", ""),
        ("run --detach mydev --name a train.py --wait", "run --detach mydev --name a train.py", "--wait"),
        ("run -n dev-x mydev --dir=src train.py -- y", "run -n dev-x mydev --dir=src train.py", "-- y"),
        (
            "--user ann run mydev --env A=b --share t.py --user c",
            "--user ann run mydev --env A=b --share t.py",
            "--user c",
        ),
        ("run mydev --nproc-per-node 2 train.py 1", "run mydev --nproc-per-node 2 train.py", "1"),
        ("run mydev --share -- make all", "run mydev --share", "make all"),
        ("run mydev --share", "run mydev --share", None),
        ("attach mydev a b", "attach mydev a b", None),
    ],
)
def test_arguments_behind_a_script_belong_to_the_script(words: str, for_typer: str, rest: str | None) -> None:
    line = parse(words.split())
    assert line.for_typer == tuple(for_typer.split())
    assert line.rest == (None if rest is None else tuple(rest.split()))
    assert line.flags.get("user") == ("ann" if "--user ann" in words else None)


@pytest.mark.parametrize(
    ("server", "run", "parsed"),
    [("mydev", "a", ("mydev", "a")), ("mydev/a", None, ("mydev", "a")), ("mydev.devserver", "a", ("mydev", "a"))],
)
def test_run_is_named_with_its_server(server: str, run: str | None, parsed: tuple[str, str]) -> None:
    assert parse_run(server, run) == parsed


@pytest.mark.parametrize(
    ("server", "run", "what"),
    [
        ("mydev", None, "which run of mydev"),
        ("mydev/", None, "which run of mydev"),
        ("mydev", "../x", "no name of a run"),
        ("mydev", "-rf", "no name of a run"),
        ("mydev/a", "b", "mydev/a"),
        ("My_Dev", "b", "My_Dev"),
    ],
)
def test_what_is_no_run_is_refused(server: str, run: str | None, what: str) -> None:
    with pytest.raises(CommandError, match=what):
        parse_run(server, run)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    (work / "train.py").write_text("print('hello')\n")
    (work / "ignored.py").write_text("")
    (work / ".gitignore").write_text("ignored.py\n")
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, api: ApiServer) -> list[list[str]]:
    """What the agent would be asked to start."""
    api.put(SERVER, spec={"flavor": "cpu-small", "running": True}, status={"phase": "Running", "podName": "p"})
    calls: list[list[str]] = []

    def start(_: object, arguments: list[str], files: list[Any], *, detach: bool) -> int:
        calls.append([*arguments, *(entry.path.name for entry in files)])
        return 5

    monkeypatch.setattr(run_stream.RunStream, "start", start)
    return calls


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["train.py", "--lr", "1"], ["--torchrun", "auto", "--", "train.py", "--lr", "1"]),
        (["--nproc-per-node", "2", "train.py"], ["--torchrun", "2", "--", "train.py"]),
        (["--no-torchrun", "./train.py", "-x"], ["--", "python3", "./train.py", "-x"]),
        (["--", "make", "all"], ["--", "make", "all"]),
        (
            ["--name", "a", "--share", "--detach", "--env", "A=b c", "--", "make"],
            ["--env", "A=b c", "--name", "a", "--share", "--detach", "--", "make"],
        ),
    ],
)
def test_run_asks_the_agent(
    devctl: Run, folder: Path, started: list[list[str]], words: list[str], command: list[str]
) -> None:
    devctl("run", "mydev", *words, code=5)
    assert started[0][0] == "--mirror"
    assert started[0][1].startswith("work-")
    assert started[0][2:] == [*command, ".gitignore", "train.py"]


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        ([], 2, "there is nothing to run"),
        (["none.py"], 3, "there is no script none.py in "),
        (["../train.py"], 3, "there is no script ../train.py in "),
        (["ignored.py"], 3, "ignored.py is not among the files that are sent"),
        (["--dir", "none", "train.py"], 3, "there is no folder none"),
        (["--name", "UP", "train.py"], 2, "'UP' is no name of a run"),
        (["--env", "A", "train.py"], 2, "'A' is no variable"),
        (["--nproc-per-node", "2", "--", "make"], 2, "--nproc-per-node is for a script"),
        (["--nproc-per-node", "0", "train.py"], 2, "0 is not in the range"),
        (["--no-torchrun", "--nproc-per-node", "2", "train.py"], 2, "exclude each other"),
    ],
)
def test_run_refuses_in_two_lines_before_anything_is_made(
    devctl: Run, folder: Path, started: list[list[str]], words: list[str], code: int, what: str
) -> None:
    done = devctl("run", "mydev", *words, code=code)
    assert started == []
    assert what in done.stderr
    assert done.stderr.count("\n") == 2


def test_folder_of_fifty_gigabytes_is_refused_with_its_largest_parts(
    devctl: Run, folder: Path, started: list[list[str]]
) -> None:
    (folder / "data").mkdir()
    with (folder / "data" / "sparse").open("wb") as file:
        file.truncate(50 * 2**30)
    refused = devctl("run", "mydev", "train.py", code=6).stderr
    assert "3 files of 50.0 GiB (at most 20000 files and 2.0 GiB are sent)" in refused
    assert "the largest are data 50.0 GiB" in refused
    assert refused.count("\n") == 2
    assert started == []


@pytest.mark.parametrize(
    "words", [["run", "mydev", "train.py"], ["attach", "mydev", "a"], ["runs", "mydev"], ["cancel", "mydev/a"]]
)
def test_stopped_server_is_named_and_not_started(devctl: Run, api: ApiServer, folder: Path, words: list[str]) -> None:
    api.put(SERVER, spec={"flavor": "cpu-small", "running": False}, status={"phase": "Stopped"})
    done = devctl(*words, code=255)
    assert "mydev is stopped" in done.stderr
    assert "devctl start mydev" in done.stderr
    assert api.writes == []


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["logs", "mydev", "--rank", "1"], "--rank is about a run"),
        (["logs", "mydev", "a", "-f"], "takes --rank only"),
        (["logs", "mydev", "a", "--tail", "1"], "takes --rank only"),
        (["runs", "mydev", "-o", "xml"], "-o xml is unknown"),
        (["fetch", "mydev", "a", "/etc/passwd"], "is not within the folder of the run"),
        (["fetch", "mydev", "a", "x/../../y"], "is not within the folder of the run"),
    ],
)
def test_other_commands_of_runs_refuse(devctl: Run, started: list[list[str]], words: list[str], what: str) -> None:
    done = devctl(*words, code=2)
    assert what in done.stderr


def put_end(api: ApiServer, runs: str) -> None:
    api.put(
        SERVER,
        spec={"flavor": "cpu-small", "running": False},
        status={"phase": "Stopped", "timeline": [{"type": "Requested", "at": "2026-11-30T12:00:00Z"}]},
    )
    record = api.put(ENDED, data={"reason": "idle", "at": "2026-11-30T14:00:00Z", "runs": runs})
    record["metadata"]["labels"] = {LABEL_ENDED: "true", LABEL_NAME: "mydev"}


def test_runs_of_a_stopped_server_are_those_of_its_end(devctl: Run, api: ApiServer) -> None:
    """The operator writes what devctl reads."""
    server = DevServer.parse(
        {
            "metadata": {"name": "mydev", "namespace": "dev-ann", "uid": "u", "generation": 1},
            "spec": {"flavor": "cpu-small"},
        }
    )
    at = datetime(2026, 11, 30, 14, tzinfo=UTC)
    runs = (
        RunState("big", "running", 0, False, 90, 90),
        RunState("bad", "ended", 3, False, 3600, 60),
        RunState("good", "ended", 0, False, 7200, 60),
    )
    put_end(
        api,
        ended_config_map(server, End(at, "idle", "", runs=describe_runs(runs, at)))["data"]["runs"],
    )
    done = devctl("runs", "mydev")
    assert done.stderr == "mydev is stopped; these are its last runs\n"
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["RUN", "STATE", "STARTED", "TOOK"],
        ["big", "lost", "2026-11-30T13:58:30Z", "90s"],
        ["bad", "failed", "(exit", "3)", "2026-11-30T13:00:00Z", "60s"],
        ["good", "succeeded", "2026-11-30T12:00:00Z", "60s"],
    ]
    assert devctl("runs", "mydev", "-o", "name").stdout.split() == ["big", "bad", "good"]
    assert [run["exitCode"] for run in json.loads(devctl("runs", "mydev", "-o", "json").stdout)] == [0, 3, 0]


FIELDS = {
    "name", "argv", "dir", "env", "share", "torchrun", "processes", "state", "started", "ended", "exitCode", "canceled",
}  # fmt: skip
"""Of a run in the agent's list: images/agent/internal/runs/command_test.go has the same."""


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_runs_of_a_stopped_server_have_the_fields_of_a_running_one(devctl: Run, api: ApiServer, output: str) -> None:
    """A script that reads .ended or .argv goes on when the server is stopped."""
    put_end(api, json.dumps([GOOD | {"seconds": 90, "canceled": True}, GOOD | {"state": "lost"}]))
    canceled, lost = json.loads(devctl("runs", "mydev", "-o", output).stdout)
    assert canceled.keys() == lost.keys() == FIELDS
    kept = {key: value for key, value in canceled.items() if value is not None}
    assert kept == {
        "name": "a", "state": "ended", "exitCode": 0, "canceled": True,
        "started": "2026-11-30T13:00:00Z", "ended": "2026-11-30T13:01:30Z",
    }  # fmt: skip
    assert (lost["state"], lost["canceled"]) == ("lost", False)


@pytest.mark.parametrize("started", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"])
def test_run_with_a_time_at_the_end_of_all_times_is_listed(devctl: Run, api: ApiServer, started: str) -> None:
    put_end(api, json.dumps([GOOD | {"started": started, "seconds": 2**40 - 1}]))
    (run,) = json.loads(devctl("runs", "mydev", "-o", "json").stdout)
    assert run["started"] == started


GOOD = {"name": "a", "state": "ended", "exitCode": 0, "started": "2026-11-30T13:00:00Z", "seconds": 1}


@pytest.mark.parametrize(
    "change",
    [{"name": "\x1b[2J"}, {"name": 1}, {"state": "asleep"}, {"exitCode": "0"}, {"seconds": -1}, {"started": "then"}],
)
def test_kept_run_of_another_form_is_left_out(devctl: Run, api: ApiServer, change: dict[str, object]) -> None:
    put_end(api, json.dumps([GOOD | change, GOOD]))
    assert devctl("runs", "mydev", "-o", "name").stdout == "a\n"


@pytest.mark.parametrize("runs", ["", "[", "{}", "[]", "[1]"])
def test_stopped_server_without_kept_runs_says_how_to_start_it(devctl: Run, api: ApiServer, runs: str) -> None:
    put_end(api, runs)
    assert "mydev is stopped" in devctl("runs", "mydev", code=255).stderr


def test_fetch_copies_from_the_folder_of_the_run(
    devctl: Run, started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[tuple[Any, ...]] = []

    def record(_: object, sources: list[copy.Place], target: copy.Place, *, recursive: bool) -> int:
        copies.append((sources, target, recursive))
        return 0

    monkeypatch.setattr(copy, "copy", record)
    devctl("fetch", "mydev", "a", "out/model.pt", "there")
    assert copies == [([copy.Place("mydev", "runs/a/out/model.pt")], copy.Place(None, "there"), True)]


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["runs", "mydev"], "runs"),
        (["runs", "mydev", "-o", "json"], "runs -o json"),
        (["runs", "mydev", "-o", "yaml"], "runs -o json"),
        (["runs", "mydev", "-o", "name"], "runs -o name"),
        (["logs", "mydev", "a"], "logs a --ranks"),
        (["logs", "mydev", "a", "--rank", "1"], "logs a --ranks --rank 1"),
        (["cancel", "mydev", "a"], "cancel a"),
        (["cancel", "mydev/a", "--kill"], "cancel a --kill"),
    ],
)
def test_agent_answers_over_ssh(
    devctl: Run, started: list[list[str]], monkeypatch: pytest.MonkeyPatch, words: list[str], command: str
) -> None:
    lines: list[list[str]] = []

    def exec_(line: list[str]) -> int:
        lines.append(line)
        return 7

    monkeypatch.setattr("devctl.ssh.process.exec_", exec_)
    devctl(*words, code=7)
    assert lines[0][-len(command.split()) - 2 :] == ["mydev.devserver", run_stream.DEVSERVER, *command.split()]


def test_bastion_has_no_folder_to_send(
    devctl: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEVCTL_BROKER", str(tmp_path / "broker"))
    done = devctl("run", "mydev", "train.py", code=2)
    assert "this needs your own machine" in done.stderr
