"""A server's stops, wishes and records, and an operator that dies between any two calls."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest

from devservers.observe.agent import AgentState
from devservers.observe.ends.ended import describe_runs
from devservers_core.errors import ApiError
from devservers_core.protocol.agent.report import Report, RunState, Wish
from devservers_core.types import Json
from tests.support.operator.lives import NAME, NAMESPACE, AnsweringAgents, Dying, Life
from tests.support.operator.observe_objects import at, stamp

H = 3600
LAST = Report(
    counter=9,
    idle_seconds=0,
    source="cpu",
    oom_kills=2,
    runs=(RunState("big", "running", 0, False, 60, 60),),
    lines=("one", "two"),
)


def answering(last: float = 0, *wishes: Wish) -> AnsweringAgents:
    report = Report(counter=1, idle_seconds=0, source="cpu", wishes=wishes)
    return AnsweringAgents(AgentState(at(last), "cpu", at(last), report), LAST)


def idle(life: Life, seconds: float) -> None:
    """The clock goes on, and the agent goes on answering that nothing happened."""
    life.seconds = seconds
    assert life.agents is not None
    assert life.agents.answer is not None
    life.agents.answer = AgentState(at(0), "cpu", at(seconds), life.agents.answer.report)


def ended(life: Life) -> Json:
    return life.api.objects[("ConfigMap", NAMESPACE, f"{NAME}-ended")]


def stop(life: Life) -> None:
    life.change(running=False)


def start_again(life: Life) -> None:
    life.change(running=False)
    life.settle()
    life.seconds = 100
    life.change({"devservers.io/started-at": stamp(100)}, running=True)


def expire(life: Life) -> None:
    life.change(lifecycle={"timeToLive": "1h"})
    life.settle()
    life.seconds = H


def expire_and_delete(life: Life) -> None:
    life.change(lifecycle={"timeToLive": "1h", "onExpiry": "delete"})
    life.settle()
    life.seconds = H


def become_idle(life: Life) -> None:
    life.change(lifecycle={"idleTimeout": "1h"})
    life.settle()
    idle(life, H - 300)
    life.settle()
    idle(life, H)


def wish(life: Life) -> None:
    life.change(lifecycle={"timeToLive": "8h"})
    assert life.agents is not None
    wishes = (Wish("w1", "extend", 7200, ""), Wish("w2", "hold", 3600, "a run"), Wish("w3", "release", 0, ""))
    life.agents.answer = answering(0, *wishes).answer


def update_flavor(life: Life) -> None:
    life.seconds = 100
    life.change({"devservers.io/restarted-at": stamp(100)}, flavor="large")


SCENARIOS = [stop, start_again, expire, expire_and_delete, become_idle, wish, update_flavor]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_operator_killed_between_any_two_calls_ends_in_the_same_state(scenario: Any, after: bool) -> None:
    """The process dies at call n, before or after it is carried out; a fresh one reconciles to the end."""
    before = Life(answering())
    before.begin(persistentHomeSize="1Gi")
    scenario(before)

    def lived(call: int | None) -> tuple[Life, int]:
        life = before.copy()
        dying = Dying(life.api, call, after=after)
        life.operator(dying)
        try:
            life.settle()
        except Exception as error:
            assert call is not None, error
        calls = dying.calls
        life.operator()
        life.settle()
        return life, calls

    undisturbed, calls = lived(None)
    expected = undisturbed.state()
    assert calls > 0
    for call in range(1, calls + 1):
        disturbed = lived(call)[0].state()
        assert disturbed == expected, f"call {call} of {calls}"


def test_stop_of_a_quiet_server_is_recorded_before_anything_stops() -> None:
    life = Life(answering())
    life.begin()
    become_idle(life)
    life.api.log.clear()
    life.settle()
    writes = [entry for entry in life.api.log if not entry.startswith("create Event")]
    assert writes[:3] == ["status DevServer/mydev", "apply ConfigMap/mydev-ended", "apply Deployment/mydev"]
    life.seconds = 9 * H
    life.settle()
    assert life.server()["status"]["stopReason"] == "idle"
    assert life.api.objects[("Deployment", NAMESPACE, NAME)]["spec"]["replicas"] == 0


def test_quiet_server_that_came_alive_in_the_last_minute_is_not_stopped() -> None:
    """The report by which it is idle is a minute old: it is asked again before anything stops."""
    life = Life(answering())
    life.begin()
    become_idle(life)
    assert life.agents is not None
    assert life.agents.answer is not None
    life.agents.now = AgentState(at(H - 5), "terminal", at(H), life.agents.answer.report)
    life.settle()
    assert "stopReason" not in life.server()["status"]
    assert life.agents.finals == []


def test_server_that_names_a_flavor_which_does_not_exist_keeps_the_limits_it_was_started_with() -> None:
    life = Life(answering())
    life.begin()
    life.flavor("small", maxTimeToLive="1h", maxIdleTimeout="30m")
    start_again(life)
    life.settle()
    life.change(flavor="nope")
    life.settle()
    life.seconds = 100 + H
    life.settle()
    assert life.server()["status"]["stopReason"] in ("idle", "expired")
    assert life.api.objects[("Deployment", NAMESPACE, NAME)]["spec"]["replicas"] == 0


HOLD = {"hold": {"until": stamp(9 * H), "reason": "a run"}}
MORE = {"timeToLive": "1h", "extendUntil": stamp(2 * H)}


@pytest.mark.parametrize("call", [1, 2], ids=["at the last question", "at the last plan"])
@pytest.mark.parametrize(
    ("scenario", "change"),
    [
        (become_idle, {"idleTimeout": "1h", **HOLD}),
        (expire, MORE),
        (expire_and_delete, {**MORE, "onExpiry": "delete"}),
    ],
)
def test_hold_or_extension_while_the_agent_is_asked_keeps_the_server(scenario: Any, change: Json, call: int) -> None:
    life = Life(answering())
    life.begin(persistentHomeSize="1Gi")
    scenario(life)
    assert life.agents is not None
    calls = 0

    def meanwhile() -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            life.change(lifecycle=change)

    life.agents.meanwhile = meanwhile
    life.settle()
    assert calls == call
    assert "stopReason" not in life.server()["status"]
    assert life.api.objects[("Deployment", NAMESPACE, NAME)]["spec"]["replicas"] == 1
    assert not [entry for entry in life.api.log if entry.endswith(f"{NAME}-ended")]


def test_changes_in_a_loop_put_no_stop_off() -> None:
    life = Life(answering())
    life.begin(persistentHomeSize="1Gi")
    expire(life)
    life.settle()
    life.seconds += 301
    assert life.agents is not None
    changes = 0

    def meanwhile() -> None:
        nonlocal changes
        changes += 1
        life.change(command=["echo", str(changes)])

    life.agents.meanwhile = meanwhile
    for _ in range(12):
        life.reconcile()
    assert life.api.objects[("Deployment", NAMESPACE, NAME)]["spec"]["replicas"] == 0
    assert changes <= 6


@pytest.mark.parametrize(
    ("scenario", "asked"),
    [
        (expire, Wish("w", "extend", 3600, "")),
        (expire_and_delete, Wish("w", "extend", 3600, "")),
        (become_idle, Wish("w", "hold", 3600, "")),
    ],
)
def test_wish_of_the_last_seconds_puts_off_the_stop(scenario: Any, asked: Wish) -> None:
    """The wish is in the report that is asked for right before the stop, and in none before."""
    life = Life(answering())
    life.begin(persistentHomeSize="1Gi")
    scenario(life)
    assert life.agents is not None
    report = Report(counter=2, idle_seconds=None, source="cpu", wishes=(asked,))
    life.agents.now = AgentState(at(0), "cpu", at(H), report)
    life.settle()
    assert "stopReason" not in life.server()["status"]
    assert life.agents.finals == []
    assert life.agents.plans[-1].answers[0].accepted


@pytest.mark.parametrize("change", [{}, {"flavor": "large"}], ids=["restart", "update of the flavor"])
def test_restart_counts_the_time_to_live_that_it_brings_from_itself(change: Json) -> None:
    """A server runs for ten days before its flavor, or the one it is moved to, gets a default of three."""
    life = Life(answering())
    life.begin(persistentHomeSize="1Gi")
    life.seconds = 240 * H
    for name in ("small", "large"):
        flavor = life.api.objects[("DevServerFlavor", "", name)]
        flavor["spec"]["lifecycle"] = {"timeToLive": "3d", "maxTimeToLive": "3d"} if name == "large" else {}
        flavor["spec"]["lifecycle"] |= {"timeToLive": "3d"}
        life.cache.put(life.api.put(flavor))
    life.settle()
    life.change({"devservers.io/restarted-at": stamp(240 * H)}, **change)
    life.settle()
    life.seconds += 60
    life.settle()
    assert life.server()["status"]["phase"] == "Running"
    assert life.server()["status"]["expiresAt"] == stamp(312 * H)
    assert "plannedStop" not in life.server()["status"]


def test_restart_by_a_clock_that_is_ahead_counts_from_when_it_is_seen() -> None:
    """A laptop five minutes ahead restarts a server in the last minutes of its time: it has the whole time again."""
    life = Life(answering())
    life.begin(lifecycle={"timeToLive": "1h"})
    life.seconds = 3000
    life.settle()
    life.change({"devservers.io/restarted-at": stamp(3300)})
    life.settle()
    life.seconds += 10
    life.settle()
    annotations = life.api.objects[("Deployment", NAMESPACE, NAME)]["metadata"]["annotations"]
    assert annotations["devservers.io/running-since"] == stamp(3000)
    assert life.server()["status"]["expiresAt"] == stamp(3000 + H)


@pytest.mark.parametrize(
    ("annotation", "change"),
    [("started-at", {}), ("started-at", {"flavor": "nope"}), ("restarted-at", {"flavor": "nope"})],
)
@pytest.mark.parametrize("limit", ["maxTimeToLive", "maxIdleTimeout"])
def test_fresh_annotation_on_a_running_server_renews_no_limit(limit: str, annotation: str, change: Json) -> None:
    """Somebody writes the time of a start every twenty minutes; nothing starts, as the pod goes on.

    A restart with a flavor that doesn't exist replaces no pod.
    """
    life = Life(answering())
    life.begin()
    life.flavor("small", **{limit: "1h"})
    start_again(life)
    life.settle()
    pods = [place for place in life.api.objects if place[0] == "Pod"]
    for seconds in range(1300, H, 1200):
        life.change({f"devservers.io/{annotation}": stamp(seconds)}, **change)
        idle(life, seconds)
        life.settle()
        assert [place for place in life.api.objects if place[0] == "Pod"] == pods
    idle(life, 100 + H)
    life.settle()
    assert life.server()["status"]["stopReason"] == ("expired" if limit == "maxTimeToLive" else "idle")
    assert _replicas(life) == 0


def test_server_of_an_earlier_version_counts_from_when_this_one_sees_it() -> None:
    life = Life(answering())
    life.begin(lifecycle={"timeToLive": "1h"})
    deployment = life.api.objects[("Deployment", NAMESPACE, NAME)]
    del deployment["metadata"]["annotations"]["devservers.io/running-since"]
    life.operator()
    life.settle()
    assert deployment_annotation(life, "running-since") == stamp(0)
    life.seconds = 600
    life.change({"devservers.io/started-at": stamp(600)})
    life.settle()
    assert life.server()["status"]["expiresAt"] == stamp(H)


def deployment_annotation(life: Life, name: str) -> str:
    annotations = life.api.objects[("Deployment", NAMESPACE, NAME)]["metadata"]["annotations"]
    return str(annotations[f"devservers.io/{name}"])


def test_start_before_the_former_pod_has_begun_to_end_waits_for_that() -> None:
    """Nothing has ended the pod yet: written at once, the start would keep it, with new limits."""
    life = Life(answering())
    life.begin(lifecycle={"timeToLive": "1h"})
    life.seconds = 600
    life.change(running=False)
    life.reconcile()
    life.seconds = 601
    life.change({"devservers.io/started-at": stamp(601)}, running=True)
    life.reconcile()
    assert (_replicas(life), deployment_annotation(life, "running-since")) == (0, stamp(0))
    life.settle()
    assert (_replicas(life), deployment_annotation(life, "running-since")) == (1, stamp(601))
    assert life.server()["status"]["expiresAt"] == stamp(601 + H)


def test_change_that_is_taken_back_before_the_pod_has_begun_to_end_renews_no_limit() -> None:
    life = Life(answering())
    life.begin(lifecycle={"timeToLive": "1h"})
    asked = deployment_annotation(life, "input-hash")
    life.seconds = 600
    life.change(flavor="large")
    life.reconcile()
    between = deployment_annotation(life, "input-hash")
    life.seconds = 601
    life.change(flavor="small")
    life.reconcile()
    assert deployment_annotation(life, "input-hash") == between != asked
    life.settle()
    assert deployment_annotation(life, "input-hash") == asked
    assert life.server()["status"]["phase"] == "Running"


def test_reconcile_of_a_settled_server_parses_the_recorded_template_once(monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life(answering())
    life.begin()
    template, loads, parsed = deployment_annotation(life, "template"), json.loads, []

    def counted(text: str, **options: Any) -> Any:
        parsed.append(text == template)
        return loads(text, **options)

    monkeypatch.setattr("json.loads", counted)
    life.reconcile()
    assert parsed.count(True) == 1


def test_start_after_a_stop_begins_the_limits_anew() -> None:
    life = Life(answering())
    life.begin(lifecycle={"timeToLive": "1h"})
    start_again(life)
    life.settle()
    assert life.server()["status"]["expiresAt"] == stamp(100 + H)
    assert deployment_annotation(life, "running-since") == stamp(100)


def test_stop_keeps_reason_lines_and_oom_kills_of_the_last_report() -> None:
    life = Life(answering())
    life.begin(persistentHomeSize="1Gi")
    pod = life.server()["status"]["podName"]
    stop(life)
    life.settle()
    assert life.agents is not None
    assert [(plan.stop_reason, plan.deletes) for plan in life.agents.finals] == [("user", False)]
    record = ended(life)
    assert record["metadata"]["labels"]["devservers.io/ended"] == "true"
    assert [owner["kind"] for owner in record["metadata"]["ownerReferences"]] == ["DevServerUser"]
    assert record["data"] == {
        "reason": "user", "message": "Stopped by its owner. Start it with `devctl start mydev`.", "at": stamp(0),
        "startedAt": stamp(0), "oomKills": "2", "flavor": "small", "home": "mydev-home", "lines": "one\ntwo",
        "pod": pod, "runs": describe_runs(LAST.runs, at(0)),
    }  # fmt: skip
    settled = len(life.api.log)
    life.settle()
    assert len(life.api.log) == settled


@pytest.mark.parametrize("change", [{}, {"flavor": "large"}], ids=["restart", "update"])
def test_pod_that_a_restart_or_an_update_replaces_is_told_before_it_ends(change: Json) -> None:
    life = Life(answering())
    life.begin(lifecycle={"timeToLive": "8h"})
    assert life.agents is not None
    replicas: list[int] = []
    life.agents.meanwhile = lambda: replicas.append(life.api.log.count("apply Deployment/mydev"))
    written = life.api.log.count("apply Deployment/mydev")
    before = deployment_annotation(life, "input-hash")
    life.seconds = 100
    life.change({"devservers.io/restarted-at": stamp(100)}, **change)
    life.settle()
    assert [(plan.stop_reason, plan.stop_at, plan.deletes) for plan in life.agents.finals] == [
        ("restarted", at(100), False)
    ]
    assert replicas == [written], "the Deployment was written first"
    assert deployment_annotation(life, "input-hash") != before
    assert life.server()["status"]["phase"] == "Running"
    assert "lastStop" not in life.server()["status"]
    assert life.agents.plans[-1].stop_reason == "expired"
    life.settle()
    assert len(life.agents.finals) == 1


def test_pod_whose_replacement_is_refused_is_told_once_and_goes_on() -> None:
    def refuse(verb: str, obj: Json) -> None:
        if obj["kind"] == "Deployment":
            raise ApiError(422, "Invalid", "no")

    life = Life(answering())
    life.begin()
    assert life.agents is not None
    life.api.before_write = refuse
    life.change(flavor="large")
    life.reconcile()
    plans = len(life.agents.plans)
    for _ in range(3):
        life.reconcile()
    assert (len(life.agents.finals), len(life.agents.plans)) == (1, plans + 3)
    life.change(flavor="small")
    life.reconcile()
    assert len(life.agents.finals) == 1


def test_change_that_nothing_can_be_begun_with_tells_nobody() -> None:
    life = Life(answering())
    life.begin()
    life.change(flavor="absent")
    life.settle()
    assert life.agents is not None
    assert life.agents.finals == []


def test_stop_with_an_agent_that_does_not_answer_goes_on_without() -> None:
    life = Life(AnsweringAgents(None, None))
    life.begin()
    stop(life)
    life.settle()
    assert "lines" not in ended(life)["data"]
    assert life.server()["status"]["phase"] == "Stopped"


def test_record_that_is_refused_keeps_no_server_running() -> None:
    def refuse(verb: str, obj: Json) -> None:
        if obj["metadata"]["name"].endswith("-ended"):
            raise ApiError(403, "Forbidden", "no")

    life = Life(answering())
    life.begin()
    life.api.before_write = refuse
    stop(life)
    life.settle()
    assert life.server()["status"]["phase"] == "Stopped"


@pytest.mark.parametrize("status", [403, 422, 500], ids=["over quota", "invalid", "unavailable"])
@pytest.mark.parametrize("scenario", [stop, expire, become_idle], ids=lambda scenario: scenario.__name__)
def test_stop_is_carried_out_though_the_home_is_refused(scenario: Any, status: int) -> None:
    """A home of 900Ti asked for a running server would otherwise keep it running beyond every limit."""

    def refuse(verb: str, obj: Json) -> None:
        if obj["kind"] == "PersistentVolumeClaim":
            raise ApiError(status, "Forbidden", "exceeded quota: storage")

    life = Life(answering())
    life.begin()
    life.api.before_write = refuse
    life.change(persistentHomeSize="900Ti")
    with contextlib.suppress(ApiError):
        life.reconcile()
    assert _replicas(life) == 1
    scenario_until_stop(life, scenario)
    assert _replicas(life) == 0
    assert life.agents is not None
    assert len(life.agents.finals) == 1


def scenario_until_stop(life: Life, scenario: Any) -> None:
    """The scenario, with reconciles that may fail, and the five minutes of notice where none was given before."""

    def reconcile() -> None:
        with contextlib.suppress(ApiError):
            life.reconcile()

    life.settle = reconcile  # type: ignore[method-assign]
    scenario(life)
    reconcile()
    if _replicas(life):
        idle(life, life.seconds + 300)
        reconcile()


def unreadable(life: Life) -> Json:
    """The owner writes a time that no model can read, as an API server without the rule on times accepts it."""
    life.change(lifecycle={"hold": {"until": "2026-12-01T00:00:00ZTx", "reason": "x"}})
    life.reconcile()
    status: Json = life.server()["status"]
    return status


def test_server_that_cannot_be_read_stops_after_an_hour_and_says_so() -> None:
    life = Life(answering())
    life.begin()
    status = unreadable(life)
    assert status["plannedStop"] == {"at": stamp(H), "reason": "expired", "announcedAt": stamp(0)}
    (ready,) = status["conditions"]
    assert ready["message"].endswith(f"It stops at {stamp(H)} unless that is done.")
    life.seconds = H - 1
    life.reconcile()
    assert (_replicas(life), life.server()["status"]) == (1, status)
    life.seconds = H
    life.reconcile()
    assert _replicas(life) == 0
    life.operator()
    life.settle()
    assert "plannedStop" not in life.server()["status"]


def test_server_that_cannot_be_read_runs_no_longer_than_its_last_status_says() -> None:
    life = Life(answering())
    life.begin(lifecycle={"timeToLive": "10m"})
    status = unreadable(life)
    assert (status["expiresAt"], status["plannedStop"]["at"]) == (stamp(600), stamp(600))
    life.seconds = 600
    life.reconcile()
    assert _replicas(life) == 0


def test_server_that_cannot_be_read_stops_at_once_by_its_owners_wish() -> None:
    life = Life(answering())
    life.begin()
    life.change(running=False)
    unreadable(life)
    assert _replicas(life) == 0


def test_server_that_is_corrected_in_time_keeps_running() -> None:
    life = Life(answering())
    life.begin()
    unreadable(life)
    life.change(lifecycle={})
    life.seconds = 2 * H
    life.settle()
    assert _replicas(life) == 1
    assert "plannedStop" not in life.server()["status"]


def test_server_that_stops_with_all_its_children_is_written_once() -> None:
    life = Life(answering())
    life.begin(persistentHomeSize="1Gi")
    stop(life)
    life.settle()
    assert not [entry for entry in life.api.log if entry.startswith("scale ")]


def _replicas(life: Life) -> int:
    return int(life.api.objects[("Deployment", NAMESPACE, NAME)]["spec"]["replicas"])


@pytest.mark.parametrize("stopped_before", [False, True])
def test_deletion_by_the_owner_is_recorded_when_it_is_seen(stopped_before: bool) -> None:
    life = Life(answering())
    life.begin(persistentHomeSize="1Gi")
    if stopped_before:
        expire(life)
        life.settle()
    gone = life.api.objects.pop(("DevServer", NAMESPACE, NAME))
    life.cache.forget(gone)
    life.reconcile()
    data = ended(life)["data"]
    assert (data["deleted"], data["reason"]) == ("true", "expired" if stopped_before else "user")
    assert data["lines"] == "one\ntwo"
    assert '"name":"big","state":"lost"' in data["runs"]


def test_records_beyond_fifty_or_a_week_are_removed() -> None:
    life = Life(answering())
    life.begin()
    for number in range(60):
        life.api.put(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": f"old{number}-ended",
                    "namespace": NAMESPACE,
                    "labels": {"devservers.io/ended": "true"},
                },
                "data": {"at": stamp(-86400 * 6 - number) if number < 55 else stamp(-86400 * 8)},
            }
        )
    stop(life)
    life.settle()
    names = {name for kind, _, name in life.api.objects if kind == "ConfigMap" and name.endswith("-ended")}
    assert len(names) == 50
    assert f"{NAME}-ended" in names
    assert "old48-ended" in names
    assert "old49-ended" not in names


@pytest.mark.parametrize(
    ("asked", "policy", "accepted", "message", "lifecycle"),
    [
        (Wish("a", "extend", 7200, ""), {}, True, "It ends at 2026-11-21T15:00:00Z.", {"extendUntil": stamp(3 * H)}),
        (
            Wish("a", "extend", 7200, ""),
            {"maxExtension": "1h"}, False, "The user's maxExtension of 1h allows at most 1h more.", {},
        ),
        (
            Wish("a", "extend", 7200, ""),
            {"maxTimeToLive": "1h"}, False, "The user's maxTimeToLive of 1h allows no more.", {},
        ),
        (
            Wish("a", "hold", 7200, " a  run "), {}, True, "It is held until 2026-11-21T14:00:00Z.",
            {"hold": {"until": stamp(7200), "reason": "a run"}},
        ),
        (
            Wish("a", "hold", 7200, " "), {}, True, "It is held until 2026-11-21T14:00:00Z.",
            {"hold": {"until": stamp(7200), "reason": "asked for in the server"}},
        ),
        (Wish("a", "hold", 7200, "x"), {"maxHold": "30m"}, False, "A hold may last at most 30m here.", {}),
        (Wish("a", "extend", 0, ""), {}, False, "Extend needs a duration above zero, like 2h.", {}),
        (Wish("a", "release", 0, ""), {}, False, "There is no hold to release.", {}),
    ],
)  # fmt: skip
def test_wish_is_granted_within_the_limits_or_refused_with_them(
    asked: Wish, policy: Json, accepted: bool, message: str, lifecycle: Json
) -> None:
    life = Life(answering(0, asked))
    life.begin(lifecycle={"timeToLive": "1h"})
    user = life.api.objects[("DevServerUser", "", "ann")]
    if policy:
        # The server was granted what its user's limits did not refuse yet: begin again under them.
        life = Life(answering())
        life.begin(lifecycle={"timeToLive": "1h"})
        user = life.api.objects[("DevServerUser", "", "ann")]
        user["spec"]["lifecycle"] = policy
        life.cache.put(life.api.put(user))
        life.agents = answering(0, asked)
        life.operator()
        life.settle()
    assert life.agents is not None
    answer = life.agents.plans[-1].answers[0]
    assert (answer.id, answer.accepted, answer.message) == ("a", accepted, message)
    stored = life.server()["spec"]["lifecycle"]
    assert {key: value for key, value in stored.items() if key not in ("timeToLive", "wish")} == lifecycle
    assert stored.get("wish") == ("a" if accepted else None)
    life.settle()
    assert [entry for entry in life.api.log if entry.startswith("patch")] == ["patch DevServer/mydev"] * accepted


def test_wishes_without_end_are_granted_three_in_half_a_minute() -> None:
    """A hostile pod reports a new wish in each answer."""
    life = Life(answering())
    life.begin(lifecycle={"timeToLive": "100h"})
    assert life.agents is not None
    for number in range(60):
        life.seconds = 100 + number
        life.agents.answer = answering(life.seconds, Wish(f"w{number}", "extend", 60, "")).answer
        life.settle()
        answer = life.agents.plans[-1].answers[-1]
        assert answer.accepted == (number % 30 < 3)
        assert answer.accepted or answer.message == "Too many at once: ask again in half a minute."
    assert [entry for entry in life.api.log if entry.startswith("patch")] == ["patch DevServer/mydev"] * 6


def test_answers_to_a_pod_that_is_gone_are_dropped() -> None:
    """Each restart while wishes are answered would keep some kilobytes for ever otherwise."""
    life = Life(answering(0, Wish("a", "extend", 60, "")))
    life.begin(lifecycle={"timeToLive": "1h"})
    assert life.agents is not None
    assert life.agents.answer is not None
    for number in range(1, 4):
        life.seconds = number
        life.change({"devservers.io/restarted-at": stamp(number)})
        life.settle()
    kept = life.servers._agents._answers
    assert [uid for answers in kept.values() for uid in answers] == [
        obj["metadata"]["uid"] for (kind, _, _), obj in life.api.objects.items() if kind == "Pod"
    ]
    life.cache.forget(life.api.objects.pop(("DevServer", NAMESPACE, NAME)))
    life.reconcile()
    assert not life.servers._agents._answers
    assert not life.servers._agents._granted


def test_new_leader_says_done_for_the_recorded_wish_only() -> None:
    """The one before it may have been refused."""
    first, second = Wish("a", "extend", 0, ""), Wish("b", "extend", 60, "")
    life = Life(answering(0, first, second))
    life.begin(lifecycle={"timeToLive": "1h"})
    assert life.agents is not None
    assert [answer.accepted for answer in life.agents.plans[-1].answers] == [False, True]
    life.operator()
    life.reconcile()
    assert [answer.message for answer in life.agents.plans[-1].answers] == [
        "Answered before; `devserver status` shows what is in force.", "Done.",
    ]  # fmt: skip


def test_wish_at_an_old_version_is_granted_on_the_next_try() -> None:
    """Somebody else changed the server in between: the patch is refused, and the reconcile comes again."""
    life = Life(answering())
    life.begin(lifecycle={"timeToLive": "1h"})
    life.api.put(life.server())
    assert life.agents is not None
    life.agents.answer = answering(0, Wish("a", "extend", 7200, "")).answer
    with pytest.raises(Exception, match="Conflict"):
        life.reconcile()
    life.cache.put(life.server())
    life.settle()
    assert life.server()["spec"]["lifecycle"]["extendUntil"] == stamp(3 * H)


def test_plan_has_the_end_and_the_room() -> None:
    life = Life(answering())
    life.begin(lifecycle={"timeToLive": "1h", "idleTimeout": "30m"})
    assert life.agents is not None
    plan = life.agents.plans[-1]
    assert (plan.stop_at, plan.stop_reason, plan.deletes, plan.grace_seconds) == (at(H), "expired", False, 120)
    assert plan.idle.timeout_seconds == 1800
    life.seconds = 20 * 60
    idle(life, 20 * 60)
    life.settle()
    announced = life.agents.plans[-1]
    assert (announced.stop_at, announced.stop_reason) == (at(1800), "idle")


def test_reconcile_of_a_server_without_an_object_does_nothing() -> None:
    life = Life(answering())
    asyncio.run(life.servers.reconcile(NAMESPACE, "nobody"))
    assert life.api.log == []
