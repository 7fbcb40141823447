"""What a user's set-up came to, in the status of their server."""

from __future__ import annotations

import pytest

from devservers.api.devserver import DevServer
from devservers.observe.agent import AgentState
from devservers.observe.devserver import Children, observe, previous_status
from devservers.observe.lifetime.idle import activity_of
from devservers.observe.lifetime.lifecycle import decide
from devservers.observe.reports.setup_steps import MAX_STEPS, setup_steps
from devservers_core.protocol.agent.report import Report, SetupStep
from devservers_core.types import Json
from tests.support.operator.observe_objects import at, flavor, pod, ready, running_pod, server, user, with_status

DOTFILES = SetupStep("dotfiles", 0, 2)
SCRIPT = SetupStep("script", 3, 70)
DONE = {"step": "dotfiles", "exitCode": 0, "seconds": 2}
FAILED = {"step": "script", "exitCode": 3, "seconds": 70}


def look(
    known: DevServer, now: float, *steps: SetupStep, answered: float | None = None, pod: Json | None = None
) -> Json:
    """The status at `now` by a report of `answered`, of now without one."""
    when = now if answered is None else answered
    report = Report(counter=1, idle_seconds=0, source="cpu", setup=steps)
    activity = activity_of(AgentState(at(when), "cpu", at(when), report), at(0), at(now))
    children = Children(user=user(), flavor=flavor(), pods=(pod or running_pod(),))
    return observe(known, children, decide(known, user(), at(now), flavor(), activity=activity), at(now)).status


def test_setup_steps_are_added_and_never_changed() -> None:
    assert setup_steps((), (DOTFILES, SCRIPT)) == [DONE, FAILED]
    assert setup_steps([DONE], (SetupStep("dotfiles", 1, 9), SCRIPT)) == [DONE, FAILED]
    assert setup_steps([DONE, FAILED], ()) == [DONE, FAILED]


def test_setup_steps_of_a_hostile_report_are_bounded() -> None:
    many = tuple(SetupStep(f"s{number}", 0, 0) for number in range(16))
    assert len(setup_steps([DONE], many)) == MAX_STEPS
    assert setup_steps((), (SetupStep("", 0, 0),)) == []


def test_steps_that_end_later_are_added_and_the_same_report_writes_nothing() -> None:
    known = server()
    known = with_status(known, look(known, 10))
    status = look(known, 60, DOTFILES)
    assert status["setup"] == [DONE]
    known = with_status(known, status)
    assert look(known, 70, DOTFILES) == previous_status(known)
    status = look(known, 120, DOTFILES, SCRIPT)
    assert status["setup"] == [DONE, FAILED]
    known = with_status(known, status)
    assert look(known, 180, DOTFILES, SCRIPT) == previous_status(known)


def test_without_a_report_the_steps_stay() -> None:
    """After a change of leader nobody has one for up to a minute."""
    known = server()
    known = with_status(known, look(known, 10))
    known = with_status(known, look(known, 60, DOTFILES))
    children = Children(user=user(), flavor=flavor(), pods=(running_pod(),))
    assert observe(known, children, decide(known, user(), at(70), flavor()), at(70)).status["setup"] == [DONE]


def test_new_container_begins_anew_and_an_old_report_does_not_count() -> None:
    known = server()
    known = with_status(known, look(known, 10))
    known = with_status(known, look(known, 60, DOTFILES))
    down = running_pod()
    down["status"]["conditions"] = [
        each | {"status": "False"} if each["type"] in ("Ready", "ContainersReady") else each
        for each in down["status"]["conditions"]
    ]
    down["status"]["containerStatuses"] = [
        {"name": "dev", "ready": False, "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    ]
    status = look(known, 100, DOTFILES, pod=down)
    assert ready(status)["status"] == "False"
    assert "setup" not in status
    known = with_status(known, status)
    status = look(known, 110, DOTFILES, answered=95)
    assert ready(status)["status"] == "True"
    assert "setup" not in status
    known = with_status(known, status)
    assert look(known, 130, SetupStep("dotfiles", 1, 1))["setup"] == [DONE | {"exitCode": 1, "seconds": 1}]


def test_pod_replaced_while_no_operator_looked_begins_anew() -> None:
    known = server()
    known = with_status(known, look(known, 10))
    known = with_status(known, look(known, 60, DOTFILES))
    assert look(known, 600, SCRIPT, pod=running_pod("mydev-2", 500))["setup"] == [FAILED]


@pytest.mark.parametrize("steps", [(), (DOTFILES,)])
def test_stopped_or_starting_server_has_no_steps(steps: tuple[SetupStep, ...]) -> None:
    assert "setup" not in look(server(), 60, *steps, pod=pod())
    stopped = server(running=False)
    assert "setup" not in observe(stopped, Children(user(), flavor()), decide(stopped, user(), at(90)), at(90)).status
