"""How servers end by themselves on a real node: time limits, idleness, holds, wishes from inside, hooks and records.

Servers that have to be watched for minutes live side by side from the first test on; the tests of what is answered at
once run meanwhile.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from subprocess import CompletedProcess

import pytest

from devservers_core.types import Json
from tests.support import wait
from tests.support.node.agent_memory import agent_memory_mib
from tests.support.node.lifetimes import ZONE, flavor, limited_flavor, shows_end, working_hours
from tests.support.node.person import Person
from tests.support.node.queueing import apply
from tests.support.node.screen import terminal
from tests.support.node.wait import eventually

pytestmark = pytest.mark.timeout(480)

FLAVOR = "cpu-limited"
FLAVOR_WITH_HOURS = "cpu-hours"
IDLE_TIMEOUT = timedelta(minutes=2)
LATE = timedelta(minutes=2)
WATCHED = IDLE_TIMEOUT + timedelta(seconds=45)
"""From its last login on: a server that counted as idle would have been stopped by then."""
EXCHANGE_SECONDS = 75.0
"""The longest time between two exchanges, and what the machine is late."""
TYPING_SECONDS = 20.0
AGENT_MEMORY_MIB = 10.0
BURN = "while :; do i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; sleep 0.2; done"
OUT_OF_MEMORY = "head -c 2G /dev/zero | tail"
"""tail keeps what has no line break: more than a server has."""
COUNTS_LIVES = 'cd; echo x >> lives; echo "this is life $(wc -l < lives)."; exec sleep 1d'
HOOK = """#!/bin/sh
echo "stopped by $DEVSERVERS_STOP_REASON"
echo done > ~/saved
"""


@dataclass(frozen=True)
class IdleLife:
    """What happened to a server that was left alone."""

    left: datetime
    stopped: Json
    listed: str
    described: str
    ssh: CompletedProcess[str]
    after_ssh: Json
    home: str


@dataclass(frozen=True)
class Evening:
    """What happened to two servers at the end of working hours: one left alone, and one held."""

    left: datetime
    end: datetime
    hours: Json
    stopped: Json
    described: str
    held: Json


Lives = dict[str, "Future[object]"]


@pytest.fixture(scope="module")
def lives(ann: Person) -> Iterator[Lives]:
    """Servers that live side by side, each in a thread that watches it."""
    stories: dict[str, Callable[[Person], object]] = {
        "idler": _left_alone,
        "burner": _burns_cpu,
        "typist": _types,
        "holder": _is_held,
        "warned": _reaches_its_end,
        "worker": _works_until_the_evening,
        "drained": _is_evicted,
        "timed": partial(_create, name="timed", options=("--time", "14m", "--idle-timeout", "10m")),
    }
    platform = ann.platform
    with (
        limited_flavor(platform, FLAVOR),
        limited_flavor(platform, FLAVOR_WITH_HOURS),
        ThreadPoolExecutor(len(stories)) as pool,
    ):
        yield {name: pool.submit(story, ann) for name, story in stories.items()}
        pool.shutdown()
        for name in (*stories, "nightworker"):
            ann.devctl("delete", name, "--yes", "--purge", check=False)


@pytest.fixture(scope="module")
def timed(lives: Lives) -> str:
    """A running server with a time limit, whose flavor limits extensions to 1h and holds to 2h."""
    lives["timed"].result()
    return "timed"


def test_extend_moves_the_end_and_the_server_shows_it_within_seconds(ann: Person, timed: str) -> None:
    before = _end(ann, timed)
    ann.devctl("extend", timed, "20m")
    after = _end(ann, timed)
    assert after - before == timedelta(minutes=20)
    eventually(lambda: shows_end(ann, timed, after - datetime.now(UTC)), "the new end inside the server", 10)


def test_wishes_from_inside_a_server_are_granted_within_an_exchange(ann: Person, timed: str) -> None:
    before, began = _end(ann, timed), time.monotonic()
    both = (
        "devserver extend 10m --wait > extended & devserver hold 30m --reason 'last epoch' --wait > held & "
        "wait; cat extended held"
    )
    answers = ann.ssh(timed, both).stdout
    assert time.monotonic() - began < EXCHANGE_SECONDS
    assert "accepted: It ends at " in answers
    assert "accepted: It is held until " in answers
    lifecycle = ann.server(timed)["spec"]["lifecycle"]
    assert lifecycle["hold"]["reason"] == "last epoch"
    ann.await_server(timed, lambda server: _parsed(server["status"]["expiresAt"]) > before, "the end to move", 10)
    assert _end(ann, timed) - before == timedelta(minutes=10)

    began = time.monotonic()
    assert "accepted: The hold is released." in ann.ssh(timed, "devserver release --wait").stdout
    assert time.monotonic() - began < EXCHANGE_SECONDS
    assert "hold" not in ann.server(timed)["spec"]["lifecycle"]


def test_requests_over_the_flavors_limits_are_refused_with_the_most_that_is_allowed(ann: Person, timed: str) -> None:
    """After the tests above 30 minutes of the extension are left."""
    refused = [
        (ann.ssh(timed, "devserver extend 31m", check=False), "extended by at most 30m"),
        (ann.ssh(timed, "devserver hold 3h --reason x", check=False), "held for at most 2h"),
        (ann.devctl("extend", timed, "31m", check=False), "take 30m or less"),
        (ann.devctl("hold", timed, "3h", "--reason", "x", check=False), "at most 2h"),
    ]
    for done, most in refused:
        assert done.returncode != 0, done
        assert most in done.stderr, done
    assert "hold" not in ann.server(timed)["spec"]["lifecycle"]


def test_stop_runs_the_hook_of_the_home_and_a_deleted_server_keeps_its_last_lines(ann: Person, lives: Lives) -> None:
    _create(ann, "hooked", ("--home-size", "1Gi"), command=("sh", "-c", COUNTS_LIVES))
    try:
        folder = ".config/devserver"
        ann.ssh("hooked", f"mkdir -p {folder}; cat > {folder}/on-stop; chmod 755 {folder}/on-stop", text=HOOK)
        ann.devctl("stop", "hooked", "--wait", "1m")
        assert "this is life 1." in ann.devctl("describe", "hooked").stdout
        ann.devctl("start", "hooked", "--wait", "3m")
        assert ann.ssh("hooked", "cat saved").stdout == "done\n"
        log = ann.ssh("hooked", "cat .local/state/devserver/on-stop.log").stdout
        for line in ("on-stop: started (user)", "stopped by user", "on-stop: exit code 0"):
            assert line in log
        ann.devctl("delete", "hooked", "--yes")

        def described() -> str:
            shown = ann.devctl("describe", "hooked", check=False).stdout
            return shown if "Deleted" in shown and "this is life 2." in shown else ""

        shown = eventually(described, "the record of the deleted server", 60)
        assert "user" in shown
        assert "hooked-home" in shown
        assert "`devctl create hooked" in shown
    finally:
        ann.devctl("delete", "hooked", "--yes", check=False)
        ann.platform.cluster.kubectl("delete", "pvc", "hooked-home", "-n", ann.namespace, "--ignore-not-found")


def test_time_limit_is_announced_in_the_terminal_and_named_when_it_closes(lives: Lives) -> None:
    server = lives["warned"].result()
    assert isinstance(server, dict)
    assert server["status"]["stopReason"] == "expired"


def test_idle_server_stops_in_time_says_why_and_comes_back_with_its_home(lives: Lives) -> None:
    life = lives["idler"].result()
    assert isinstance(life, IdleLife)
    last = life.stopped["status"]["lastStop"]
    assert (life.stopped["status"]["stopReason"], last["reason"]) == ("idle", "idle")
    # Activity is noticed up to ten seconds after it, and a login may be the last one.
    assert IDLE_TIMEOUT - timedelta(seconds=10) <= _parsed(last["at"]) - life.left <= IDLE_TIMEOUT + LATE
    (row,) = [line for line in life.listed.splitlines() if line.startswith("idler ")]
    assert "stopped: idle" in row
    assert "idle: " in life.described
    assert life.ssh.returncode == 255
    assert "idle" in life.ssh.stderr
    assert "`devctl start idler --wait` starts it" in life.ssh.stderr
    assert life.after_ssh["status"]["phase"] == "Stopped"
    assert life.home == "precious\n"


def test_idle_server_stops_at_the_end_of_working_hours_in_their_time_zone_and_a_held_one_stays(lives: Lives) -> None:
    evening = lives["worker"].result()
    assert isinstance(evening, Evening)
    last = evening.stopped["status"]["lastStop"]
    assert (evening.stopped["status"]["stopReason"], last["reason"]) == ("workingHours", "workingHours")
    # A session that ends between two of the agent's looks is no activity that it sees: the hours are the bound.
    assert evening.end <= _parsed(last["at"]) <= max(evening.end, evening.left + IDLE_TIMEOUT) + LATE
    assert "workingHours: " in evening.described
    assert f"the end of working hours at {evening.hours['stopAt']} {ZONE}" in evening.described
    assert evening.held["status"]["phase"] == "Running"
    assert "stopReason" not in evening.held["status"]


def test_server_that_is_evicted_says_why_with_its_last_lines_and_what_ran_out_of_memory(lives: Lives) -> None:
    """It runs again by then."""
    shown = str(lives["drained"].result())
    assert " ago, clusterDrained" in shown
    assert "it was evicted from its node" in shown
    assert "1 process killed because memory ran out" in shown
    _, _, output = shown.partition("Last output before it ended:\n")
    assert "  this is life 1.\n" in output


@pytest.mark.parametrize("name", ["burner", "typist", "holder"])
def test_server_at_work_outlives_the_idle_timeout(lives: Lives, name: str) -> None:
    """A detached program that uses the processor, a line that somebody types now and then, a hold."""
    lives[name].result()


def test_agent_of_an_idle_server_keeps_below_its_memory_bound(lives: Lives) -> None:
    memory = lives["holder"].result()
    assert isinstance(memory, float)
    assert memory < AGENT_MEMORY_MIB


def _left_alone(ann: Person) -> IdleLife:
    _create(ann, "idler", ("--home-size", "1Gi", *_idle_timeout()))
    ann.ssh("idler", "echo precious > work")
    left = datetime.now(UTC)
    seconds = (IDLE_TIMEOUT + LATE).total_seconds()
    stopped = wait.eventually(partial(_stopped, ann, "idler"), "the idle server to stop", seconds, every=1.0)
    ssh = ann.ssh("idler", "true", check=False)
    after_ssh, listed = ann.server("idler"), ann.devctl("list").stdout
    described = ann.devctl("describe", "idler").stdout
    ann.devctl("start", "idler", "--wait", "3m")
    home = ann.ssh("idler", "cat work").stdout
    return IdleLife(left, stopped, listed, described, ssh, after_ssh, home)


def _burns_cpu(ann: Person) -> None:
    _create(ann, "burner", ("--ephemeral", *_idle_timeout()))
    ann.ssh("burner", f"nohup setsid sh -c '{BURN}' > /dev/null 2>&1 < /dev/null &")
    _outlives(ann, "burner")


def _types(ann: Person) -> None:
    _create(ann, "typist", ("--ephemeral", *_idle_timeout()))
    typed_at = 0.0
    with terminal(ann, "ssh", "typist") as screen:
        screen.expect("$ ")

        def type_now_and_then() -> None:
            nonlocal typed_at
            if time.monotonic() - typed_at >= TYPING_SECONDS:
                screen.type("x")
                typed_at = time.monotonic()

        _outlives(ann, "typist", type_now_and_then)


def _is_held(ann: Person) -> float:
    _create(ann, "holder", ("--ephemeral", *_idle_timeout()))
    ann.devctl("hold", "holder", "1h", "--reason", "a long evaluation")
    _outlives(ann, "holder")
    return agent_memory_mib(ann, "holder")


def _reaches_its_end(ann: Person) -> Json:
    """The end of the server after it was announced in the terminal of somebody who types."""
    _create(ann, "warned", ("--ephemeral", "--time", "6m"))
    with terminal(ann, "ssh", "warned") as screen:
        screen.expect("$ ")
        screen.type("echo hal")
        screen.expect("this server stops in 5m: its time is over", 120)
        with terminal(ann, "ssh", "warned") as later:
            later.expect("this server stops in ")  # in the message of the day
        screen.type("f\n")
        screen.expect("half")  # what was typed before the announcement is still there
        ran = datetime.now(UTC) - _parsed(ann.server("warned")["metadata"]["creationTimestamp"])
        ann.devctl("update", "warned", "--time", f"{int(ran.total_seconds()) + 65}s")
        screen.expect("this server stops now: its time is over", 120)
        assert screen.process.wait(60) != 0
    stopped: Json = eventually(partial(_stopped, ann, "warned"), "the server to stop at its end", 60)
    return stopped


def _works_until_the_evening(ann: Person) -> Evening:
    """Both run before the hours are set: a server that is started after the end is left alone."""
    for name in ("worker", "nightworker"):
        ann.devctl("create", name, FLAVOR_WITH_HOURS, "--ephemeral", "--wait", "3m")
    ann.devctl("hold", "nightworker", "1h", "--reason", "a run over night")
    left = datetime.now(UTC)
    end, hours = working_hours(IDLE_TIMEOUT)
    apply(ann.platform, flavor(FLAVOR_WITH_HOURS, workingHours=hours))
    seconds = (max(end - left, IDLE_TIMEOUT) + LATE).total_seconds()
    stopped = wait.eventually(partial(_stopped, ann, "worker"), "the end of working hours", seconds, every=1.0)
    described = ann.devctl("describe", "worker").stdout
    _outlives(ann, "nightworker", seconds=20.0)
    return Evening(left, end, hours, stopped, described, ann.server("nightworker"))


def _is_evicted(ann: Person) -> str:
    """What describe shows after a program ran out of memory, and the pod was evicted as by a drain."""
    kubectl, namespace = ann.platform.cluster.kubectl, ann.namespace
    _create(ann, "drained", ("--ephemeral",), command=("sh", "-c", COUNTS_LIVES))
    assert ann.ssh("drained", OUT_OF_MEMORY, check=False).returncode != 0
    pod = ann.server("drained")["status"]["podName"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
    kubectl("create", "--raw", path, "-f", "-", text=json.dumps(eviction))

    def runs_again() -> str:
        status = ann.server("drained")["status"]
        again = status.get("podName") not in (None, pod) and status["phase"] == "Running"
        shown = ann.devctl("describe", "drained").stdout if again else ""
        return shown if "Last output" in shown else ""

    return str(eventually(runs_again, "the server to run again and to have a record of its end", 180))


def _outlives(
    ann: Person, name: str, act: Callable[[], None] = lambda: None, seconds: float = WATCHED.total_seconds()
) -> None:
    """Watch a running server, for longer than its idle timeout unless `seconds` are given."""
    until = time.monotonic() + seconds

    def watched() -> bool:
        act()
        status = ann.server(name)["status"]
        assert status["phase"] == "Running", status
        return time.monotonic() > until

    wait.eventually(watched, f"the end of the watch over {name}", 2 * seconds, every=2.0)


def _create(ann: Person, name: str, options: tuple[str, ...], command: tuple[str, ...] = ()) -> None:
    rest = ("--", *command) if command else ()
    ann.devctl("create", name, FLAVOR, *options, "--wait", "3m", *rest)


def _idle_timeout() -> tuple[str, str]:
    return "--idle-timeout", f"{int(IDLE_TIMEOUT.total_seconds())}s"


def _stopped(ann: Person, name: str) -> Json | None:
    server: Json = ann.server(name)
    return server if server["status"]["phase"] == "Stopped" else None


def _end(ann: Person, name: str) -> datetime:
    return _parsed(ann.server(name)["status"]["expiresAt"])


def _parsed(moment: str) -> datetime:
    return datetime.fromisoformat(moment)
