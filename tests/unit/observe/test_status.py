"""A status is written when its meaning changes, and a quick start takes two writes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devservers.api.devserver import DevServer
from devservers.api.devserver_status import DevServerStatus
from devservers.observe.devserver import Children, invalid_status, observe, previous_status
from devservers.observe.lifetime.lifecycle import decide
from devservers_core.types import Json
from tests.support.operator.observe_objects import (
    SCHEDULED,
    at,
    condition,
    ended,
    failing_deployment,
    flavor,
    look,
    pod,
    ready,
    running_pod,
    server,
    stamp,
    user,
    waiting,
    with_status,
)


def home(size: str = "10Gi", capacity: str | None = "10Gi") -> Json:
    status = {"phase": "Bound", "capacity": {"storage": capacity}} if capacity else {"phase": "Pending"}
    return {"spec": {"resources": {"requests": {"storage": size}}}, "status": status}


def start_steps(first: float) -> list[tuple[float, Json]]:
    """A pod's status second by second from its making at `first` to SSH answering."""
    node, box = condition("PodScheduled", "True", first), condition("PodReadyToStartContainers", "True", first + 1)
    run = {"ready": False, "state": {"running": {"startedAt": stamp(first + 2)}}}
    full = running_pod(first=first - 1)
    return [
        (first, pod(created=first)),
        (first, pod(created=first, conditions=[node])),
        (first + 1, pod(created=first, conditions=[node, box])),
        (first + 2, pod(created=first, conditions=[node, box], main=run)),
        (first + 3, full),
    ]


def replay(known: DevServer, steps: list[tuple[float, Json]]) -> list[Json]:
    written: list[Json] = []
    for seconds, found in [(steps[0][0] - 1, None), *steps]:
        status = look(known, seconds, pods=(found,) if found else ()).status
        if status != previous_status(known):
            written.append(status)
        known = with_status(known, status)
    return written


def test_quick_start_is_two_writes() -> None:
    first, last = replay(server(), start_steps(1))
    assert first["phase"] == "Starting"
    assert [entry["stage"] for entry in first["timeline"]] == ["Accepted"]
    assert last["phase"] == "Running"
    assert last["timeline"] == [
        {"stage": "Accepted", "at": stamp(0)},
        {"stage": "Scheduled", "at": stamp(0)},
        {"stage": "VolumesReady", "at": stamp(1)},
        {"stage": "ImagePulled", "at": stamp(3)},
        {"stage": "ContainerStarted", "at": stamp(3)},
        {"stage": "SSHReady", "at": stamp(4)},
    ]
    assert last["endpoint"] == "mydev.dev-ann.svc:22"
    assert last["podName"] == "mydev-1"


def test_slow_step_is_written_after_three_seconds() -> None:
    accepted = look(server(), 0).status
    scheduled = pod(conditions=[SCHEDULED])
    known = with_status(server(), accepted)
    early = look(known, 2, pods=(scheduled,))
    assert early.status == accepted
    assert early.requeue_after == timedelta(seconds=2)
    late = look(known, 4, pods=(scheduled,))
    assert [entry["stage"] for entry in late.status["timeline"]] == ["Accepted", "Scheduled"]
    assert late.requeue_after is None


def test_new_pod_begins_a_new_timeline() -> None:
    running = look(server(), 10, pods=(running_pod(),)).status
    ending = running_pod()
    ending["metadata"]["deletionTimestamp"] = stamp(100)
    between = look(with_status(server(), running), 101, pods=(ending,)).status
    assert between["timeline"] == [{"stage": "Accepted", "at": stamp(101)}]
    again = look(with_status(server(), between), 110, pods=(running_pod("mydev-2", 103),)).status
    assert again["timeline"][0]["at"] == stamp(101)
    assert again["timeline"][-1] == {"stage": "SSHReady", "at": stamp(107)}
    replaced = look(with_status(server(), running), 110, pods=(running_pod("mydev-2", 103),)).status
    assert replaced["timeline"][0]["at"] == stamp(103)


def test_start_begins_when_it_was_requested() -> None:
    stopped = look(server(running=False), 50).status
    asked = server(stopped, {"devservers.io/started-at": stamp(60)})
    begun = look(asked, 61).status
    assert begun["timeline"] == [{"stage": "Accepted", "at": stamp(60)}]
    assert "stopReason" not in begun


def test_restarted_container_keeps_the_stages_of_its_pod() -> None:
    running = look(server(), 10, pods=(running_pod(),)).status
    again = running_pod(lastState=ended("Error", 1, 50), restartCount=1)
    again["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] = stamp(51)
    later = look(with_status(server(), running), 60, pods=(again,))
    assert later.status["timeline"] == running["timeline"]
    assert [event.reason for event in later.events] == ["Restarted"]


def test_server_without_ssh_has_no_endpoint_and_no_stage() -> None:
    status = look(server(enableSSH=False), 10, pods=(running_pod(),)).status
    assert "endpoint" not in status
    assert status["timeline"][-1]["stage"] == "ContainerStarted"
    assert status["phase"] == "Running"


def test_transition_time_moves_with_the_status_only() -> None:
    first = look(server(), 0).status
    blocked = look(with_status(server(), first), 5, flavor=None).status
    assert ready(blocked)["lastTransitionTime"] == stamp(0)
    running = look(with_status(server(), blocked), 10, pods=(running_pod(),)).status
    assert ready(running)["lastTransitionTime"] == stamp(10)


@pytest.mark.parametrize(
    ("size", "claim", "error", "ok", "reason", "words"),
    [
        ("10Gi", home(), None, None, None, ""),
        ("10Gi", None, None, None, None, ""),
        ("5Gi", home(), None, False, "ShrinkRefused", "Set persistentHomeSize to 10Gi"),
        ("20Gi", home(), None, False, "Resizing", "is being resized to 20Gi"),
        ("20Gi", home("20Gi"), None, False, "Resizing", "is being resized to 20Gi"),
        ("20Gi", home("20Gi", None), None, None, None, ""),
        ("20Gi", home(), "only dynamically provisioned pvc can be resized", False, "NotExpandable", "stays at 10Gi"),
        ("20Gi", home("20Gi", "20Gi"), None, None, None, ""),
    ],
)
def test_home_resized_condition_by_size_and_claim(
    size: str, claim: Json | None, error: str | None, ok: bool | None, reason: str | None, words: str
) -> None:
    known = server(persistentHomeSize=size)
    status = look(known, 10, pods=(running_pod(),), home_claim=claim, home_error=error).status
    found = [entry for entry in status["conditions"] if entry["type"] == "HomeResized"]
    assert status["phase"] == "Running"
    if reason is None:
        assert found == []
    else:
        assert (found[0]["status"], found[0]["reason"]) == (str(ok), reason)
        assert words in found[0]["message"]


def test_finished_resize_is_a_true_condition() -> None:
    known = server(persistentHomeSize="20Gi")
    growing = look(known, 10, home_claim=home("20Gi")).status
    done = look(with_status(known, growing), 20, home_claim=home("20Gi", "20Gi")).status
    assert done["conditions"][-1]["status"] == "True"
    assert done["conditions"][-1]["reason"] == "Resized"


def test_flavor_changed_condition_exists_while_there_is_a_pod() -> None:
    running = look(server(), 10, pods=(running_pod(),), flavor_changed=True)
    assert running.status["conditions"][-1]["type"] == "FlavorChanged"
    assert "devctl restart mydev" in running.status["conditions"][-1]["message"]
    assert [event.reason for event in running.events] == ["Running", "FlavorChanged"]


def test_missing_flavor_is_reported_while_there_is_a_pod() -> None:
    found = look(server(), 8, pods=(running_pod(),), flavor=None)
    (told,) = [each for each in found.status["conditions"] if each["type"] == "FlavorChanged"]
    assert told["reason"] == "FlavorNotFound"
    assert "no longer exists" in told["message"]
    assert ready(found.status)["status"] == "True"


def test_claim_being_deleted_is_reported_once() -> None:
    claims: dict[str, Any] = {
        "claims_being_deleted": ("mydev-home", "data"),
        "home_claim": {"metadata": {"name": "mydev-home"}},
    }
    known = server(persistentHomeSize="1Gi")
    found = look(known, 8, pods=(running_pod(),), **claims)
    (told,) = [each for each in found.status["conditions"] if each["type"] == "VolumeDeleting"]
    assert told["message"].startswith("The home (volume claim mydev-home) and the volume claim data are being deleted")
    assert "VolumeDeleting" in [each.reason for each in found.events]
    again = look(with_status(known, found.status), 9, pods=(running_pod(),), **claims)
    assert again.events == ()


def test_events_are_posted_for_what_matters() -> None:
    first = look(server(), 0)
    assert first.events == ()
    running = look(with_status(server(), first.status), 10, pods=(running_pod(),))
    assert [(event.type, event.message) for event in running.events] == [("Normal", "It is running. Ready after 5 s.")]
    missing = look(with_status(server(), first.status), 10, flavor=None)
    assert [(event.type, event.reason) for event in missing.events] == [("Warning", "FlavorNotFound")]


def test_event_of_a_missing_secret_is_posted_once() -> None:
    refused = pod(
        conditions=[SCHEDULED], main=waiting("CreateContainerConfigError", 'secret "user-secret-hf" not found')
    )
    before = with_status(server(), look(server(), 0).status)
    found = look(before, 10, pods=(refused,))
    ((kind, reason, message),) = [(event.type, event.reason, event.message) for event in found.events]
    assert (kind, reason) == ("Warning", "SecretNotFound")
    assert message.startswith("The secret hf doesn't exist. `devctl secret set hf` makes it")
    assert look(with_status(server(), found.status), 60, pods=(refused,)).events == ()


def test_invalid_status_has_the_reason() -> None:
    raw = {"metadata": {"name": "mydev", "generation": 4}, "status": {"conditions": "?"}}
    status = invalid_status(raw, "DevServer: spec.flavor: Field required", at(5))
    assert status["phase"] == "Failed"
    assert ready(status)["reason"] == "InvalidSpec"
    assert "spec.flavor" in ready(status)["message"]
    assert invalid_status({**raw, "status": status}, "DevServer: spec.flavor: Field required", at(50)) == status


deployments = st.sampled_from(
    [None, {}, {"metadata": {"generation": 2}}, failing_deployment("webhook", 5), failing_deployment("quota", 50)]
)
mains = st.sampled_from(
    [
        None,
        waiting("ErrImagePull", "not found"),
        waiting("ImagePullBackOff", ""),
        waiting("ContainerCreating"),
        waiting("CrashLoopBackOff", "", lastState=ended("OOMKilled", 137, 9), restartCount=2),
        {"ready": True, "state": {"running": {"startedAt": stamp(5)}}},
        {"ready": False, "state": {"running": {"startedAt": stamp(70)}}, "lastState": ended("Error", 2, 60)},
        {"state": ended("Error", 143, 40)},
    ]
)
kinds = st.sampled_from(["PodScheduled", "PodReadyToStartContainers", "Initialized", "Ready"])
conditions = st.lists(
    st.builds(
        condition,
        kinds,
        st.sampled_from(["True", "False"]),
        st.integers(0, 90),
        st.sampled_from(["", "Unschedulable"]),
        st.sampled_from(["", "0/1 nodes are available: 1 Insufficient cpu."]),
    ),
    max_size=4,
    unique_by=lambda found: str(found["type"]),
)
some_pods = st.lists(
    st.builds(
        lambda name, created, found, main, more: pod(name, created, found, main, **more),
        st.sampled_from(["mydev-1", "mydev-2"]),
        st.integers(0, 60),
        conditions,
        mains,
        st.sampled_from([{}, {"deletionTimestamp": stamp(80)}]),
    ),
    max_size=2,
    unique_by=lambda found: str(found["metadata"]["name"]),
)
scenes = st.fixed_dictionaries(
    {
        "user": st.sampled_from([user(), user(suspended=True), None]),
        "flavor": st.sampled_from([flavor(), None]),
        "workload": deployments,
        "pods": some_pods.map(tuple),
        "home_claim": st.sampled_from([None, home(), home("20Gi")]),
        "missing_claims": st.sampled_from([(), ("data",)]),
        "flavor_changed": st.booleans(),
        "host_key_public": st.sampled_from([None, "ssh-ed25519 AAAA"]),
        "home_error": st.sampled_from([None, "no"]),
    }
)
specs = st.fixed_dictionaries(
    {
        "running": st.sampled_from([True, True, False]),
        "enableSSH": st.booleans(),
        "persistentHomeSize": st.sampled_from([None, "5Gi", "15Gi"]),
        "lifecycle": st.sampled_from([{}, {"timeToLive": "100s"}]),
    }
)


@settings(max_examples=300, deadline=None)
@given(specs, st.lists(st.tuples(st.integers(0, 40), scenes), min_size=1, max_size=4))
def test_any_history_gives_stable_and_monotone_statuses(spec: Json, history: list[tuple[int, dict[str, Any]]]) -> None:
    known, clock = server(**spec), 0
    for wait, scene in history:
        clock += wait
        children = Children(**scene)
        decision = decide(known, children.user, at(clock))
        found = observe(known, children, decision, at(clock))
        # The status is one the API's model reads back unchanged.
        assert DevServerStatus.model_validate(found.status).to_dict() == found.status
        known = with_status(known, found.status)
        again = observe(known, children, decision, at(clock))
        assert again.status == found.status
        assert again.events == ()
        assert found.requeue_after is None or found.requeue_after > timedelta(0)
        stages = found.status.get("timeline", [])
        assert not stages or stages[0]["stage"] == "Accepted"
        assert [entry["at"] for entry in stages] == sorted(entry["at"] for entry in stages)
