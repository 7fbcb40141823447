"""The records of ends that neither the owner nor the operator decided."""

from __future__ import annotations

import copy

import pytest

from devservers_core.errors import ApiError
from devservers_core.types import Json
from tests.support.operator.lives import NAME, NAMESPACE, AnsweringAgents, Life
from tests.support.operator.observe_objects import stamp

RECORD = f"{NAME}-ended"
LEFT = '{"reason":"","lines":["epoch 7","epoch 8"],"oomKills":1}'


def pod(life: Life) -> Json:
    (found,) = [copy.deepcopy(obj) for (kind, *_), obj in life.api.objects.items() if kind == "Pod"]
    return found


def evicted(life: Life, cause: str | None = "EvictionByEvictionAPI") -> None:
    """The Eviction API, or another cause, has deleted the pod, and it has its grace period."""
    lost = pod(life)
    lost["metadata"]["deletionTimestamp"] = stamp(life.seconds)
    if cause is not None:
        lost["status"]["conditions"].append({"type": "DisruptionTarget", "status": "True", "reason": cause})
    life.cache.put(life.api.put(lost))
    life.reconcile()


def with_message(lost: Json, message: str) -> Json:
    lost["status"]["containerStatuses"][0] |= {
        "ready": False,
        "state": {"terminated": {"exitCode": 143, "reason": "Error", "finishedAt": stamp(70), "message": message}},
    }
    return lost


def gone(life: Life, message: str = LEFT) -> None:
    """The pod's deletion, whose event has how its container ended."""
    last = with_message(life.api.put(with_message(pod(life), message)), message)
    life.api.objects.pop(("Pod", NAMESPACE, last["metadata"]["name"]))
    life.cache.forget(last)
    life.reconcile()


def record(life: Life) -> Json:
    return life.api.objects[("ConfigMap", NAMESPACE, RECORD)]


def begun() -> Life:
    life = Life(AnsweringAgents())
    life.begin(persistentHomeSize="1Gi")
    life.reconcile()
    life.seconds = 60
    return life


def test_eviction_is_recorded_at_once_and_its_lines_when_the_pod_has_ended() -> None:
    life = begun()
    evicted(life)
    first = record(life)
    assert first["data"]["reason"] == "clusterDrained"
    assert "evicted from its node" in first["data"]["message"]
    assert (first["data"]["at"], first["data"]["startedAt"]) == (stamp(60), stamp(0))
    assert "lines" not in first["data"]
    life.api.log.clear()
    gone(life)
    data = record(life)["data"]
    assert data == {**first["data"], "lines": "epoch 7\nepoch 8", "oomKills": "1"}
    assert record(life)["metadata"]["labels"] == first["metadata"]["labels"]
    assert record(life)["metadata"]["ownerReferences"] == first["metadata"]["ownerReferences"]
    life.settle()
    assert life.api.log.count(f"apply ConfigMap/{RECORD}") == 1
    assert life.server()["status"]["lastStop"]["reason"] == "clusterDrained"


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        ("EvictionByEvictionAPI", "clusterDrained"), ("PreemptionByScheduler", "preempted"),
        ("DeletionByTaintManager", "nodeLost"), (None, "clusterDrained"),
    ],
)  # fmt: skip
def test_agent_of_a_pod_that_somebody_else_deletes_is_told_why_once(cause: str | None, reason: str) -> None:
    life = begun()
    assert life.agents is not None
    evicted(life, cause)
    life.reconcile()
    assert [plan.stop_reason for plan in life.agents.finals] == [reason]
    gone(life)
    life.settle()
    assert len(life.agents.finals) == 1


def test_agent_of_a_pod_that_its_owner_stopped_is_told_that_alone() -> None:
    life = begun()
    assert life.agents is not None
    life.change(running=False)
    life.reconcile()
    evicted(life)
    assert [plan.stop_reason for plan in life.agents.finals] == ["user"]


def test_record_is_written_before_the_status() -> None:
    """An operator that dies in between records the end anew."""
    life = begun()
    life.api.log.clear()
    evicted(life)
    assert life.api.log.index(f"apply ConfigMap/{RECORD}") < life.api.log.index(f"status DevServer/{NAME}")


def test_lines_of_a_pod_that_ended_while_no_operator_ran_are_added() -> None:
    life = begun()
    evicted(life)
    life.cache.put(life.api.put(with_message(pod(life), LEFT)))
    life.operator()
    life.reconcile()
    assert record(life)["data"]["lines"] == "epoch 7\nepoch 8"
    settled = len(life.api.log)
    life.operator()
    life.reconcile()
    assert len(life.api.log) == settled


def test_what_a_hostile_pod_leaves_is_bounded_and_printable() -> None:
    life = begun()
    evicted(life)
    gone(life, "\x1b]0;x\x07\u202e" + "y" * 10**6)
    lines = record(life)["data"]["lines"]
    assert lines.isprintable()
    assert len(lines.encode()) <= 4096


def test_stop_whose_agent_did_not_answer_has_the_lines_of_the_termination_message() -> None:
    life = begun()
    life.change(running=False)
    life.reconcile()
    assert "lines" not in record(life)["data"]
    gone(life)
    data = record(life)["data"]
    assert (data["reason"], data["lines"]) == ("user", "epoch 7\nepoch 8")


def test_message_of_an_earlier_pod_is_not_put_into_the_record() -> None:
    life = begun()
    evicted(life)
    live = record(life)
    live["data"]["pod"] = "mydev-earlier"
    life.operator()
    gone(life)
    assert "lines" not in record(life)["data"]


def test_record_that_is_refused_delays_neither_status_nor_lines() -> None:
    def refuse(verb: str, obj: Json) -> None:
        if obj["metadata"]["name"] == RECORD:
            raise ApiError(403, "Forbidden", "no")

    life = begun()
    life.api.before_write = refuse
    evicted(life)
    gone(life)
    assert life.server()["status"]["lastStop"]["reason"] == "clusterDrained"


@pytest.mark.parametrize("runs_again", [False, True])
def test_deletion_after_an_eviction_keeps_the_cause_unless_it_ran_again(runs_again: bool) -> None:
    life = begun()
    evicted(life)
    gone(life)
    if runs_again:
        life.settle()
    life.cache.forget(life.api.objects.pop(("DevServer", NAMESPACE, NAME)))
    life.reconcile()
    data = record(life)["data"]
    assert (data["deleted"], data["reason"]) == ("true", "user" if runs_again else "clusterDrained")
    assert data.get("lines") == (None if runs_again else "epoch 7\nepoch 8")


def test_deletion_of_a_server_whose_pod_ends_first_gets_its_lines() -> None:
    """The garbage collector was faster than the exchange."""
    life = begun()
    life.cache.forget(life.api.objects.pop(("DevServer", NAMESPACE, NAME)))
    ending = pod(life)
    ending["metadata"]["deletionTimestamp"] = stamp(60)
    life.cache.put(life.api.put(ending))
    life.reconcile()
    assert record(life)["data"]["reason"] == "user"
    gone(life)
    assert record(life)["data"]["lines"] == "epoch 7\nepoch 8"
