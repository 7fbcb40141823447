"""The life of a distributed server: it starts, stops, idles and starts anew as one."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from devservers.observe.agent import AgentState
from devservers.reconcile.mapper import map_to_keys
from devservers_core.errors import ApiError
from devservers_core.protocol.agent.plan import WishAnswer
from devservers_core.protocol.agent.report import Report, Wish
from devservers_core.types import Json
from tests.support.operator.lives import NAME, NAMESPACE
from tests.support.operator.observe_objects import at, stamp
from tests.support.operator.replica_lives import STATEFUL_SET, AgentsOfReplicas, ReplicaLife
from tests.support.operator.world import World

LAST = Report(counter=1, idle_seconds=0, source="cpu", lines=("the end",), oom_kills=1)


def report(last: float, at_seconds: float, *wishes: Wish) -> AgentState:
    return AgentState(at(last), "cpu", at(at_seconds), Report(counter=1, idle_seconds=0, source="cpu", wishes=wishes))


def agents_of(life: ReplicaLife) -> AgentsOfReplicas:
    assert isinstance(life.agents, AgentsOfReplicas)
    return life.agents


def uid(life: ReplicaLife, number: int) -> str:
    return str(life.api.objects[("Pod", NAMESPACE, f"{NAME}-{number}")]["metadata"]["uid"])


def test_server_runs_when_all_replicas_are_ready_and_a_settled_one_writes_nothing() -> None:
    life = ReplicaLife()
    life.begin(3, persistentHomeSize="1Gi")
    status = life.server()["status"]
    assert (status["phase"], status["podName"]) == ("Running", "mydev-0")
    assert (status["ready"], status["readyReplicas"], status["replicas"]) == ("3/3", 3, 3)
    claims = sorted(name for kind, _, name in life.api.objects if kind == "PersistentVolumeClaim")
    assert claims == ["home-mydev-0", "home-mydev-1", "home-mydev-2"]
    writes = len(life.api.log)
    life.seconds = 30
    life.reconcile()
    assert life.api.log[writes:] == []


def test_replica_key_is_made_once_and_belongs_to_its_server() -> None:
    life = ReplicaLife()
    life.begin()
    place = ("Secret", NAMESPACE, "mydev-replica-key")
    secret = copy.deepcopy(life.api.objects[place])
    (owner,) = secret["metadata"]["ownerReferences"]
    assert owner["uid"] == life.server()["metadata"]["uid"]
    life.reconcile()
    assert life.api.objects[place] == secret
    life.api.objects[place]["metadata"]["ownerReferences"][0]["uid"] = "a former server's"
    life.reconcile()
    assert life.api.objects[place]["data"] != secret["data"]
    (line,) = life.api.objects[("ConfigMap", NAMESPACE, "mydev-keys")]["data"]["authorized_keys"].splitlines()
    assert line.startswith("ssh-ed25519 ")


def test_lost_replica_makes_the_server_start_and_comes_back_under_its_name() -> None:
    life = ReplicaLife()
    life.begin()
    before = life.server()["status"]["timeline"]
    life.lose(1)
    life.reconcile()
    status = life.server()["status"]
    assert (status["phase"], status["ready"], status["podName"]) == ("Starting", "1/2", "mydev-0")
    assert "replica that is missing" in life.ready()["message"]
    life.seconds = 20
    life.settle()
    assert (life.pod_names(), life.server()["status"]["ready"]) == (["mydev-0", "mydev-1"], "2/2")
    assert life.server()["status"]["phase"] == "Running"
    assert life.server()["status"]["timeline"] == before


def test_lost_first_replica_begins_no_new_start_and_still_gets_notice_of_a_limit() -> None:
    life = ReplicaLife()
    life.begin()
    before = life.server()["status"]["timeline"]
    life.seconds = 7200
    life.lose(0)
    for _ in range(2):
        life.reconcile()
        status = life.server()["status"]
        assert (status["phase"], status["ready"], status["podName"]) == ("Starting", "1/2", "mydev-0")
        assert status["timeline"] == before
    live = copy.deepcopy(life.server())
    live["spec"]["lifecycle"] = {"timeToLive": "1h"}  # over for an hour
    life.cache.put(life.api.put(live))
    life.reconcile()
    assert life.pod_names() == ["mydev-1"]
    assert life.server()["status"]["plannedStop"]["at"] > stamp(7200)
    for name in ("mydev-0", "mydev-1"):
        life.api.objects.pop(("Pod", NAMESPACE, name), None)
    life.operator()
    life.reconcile()
    assert "podName" not in life.server()["status"]


def test_interruption_keeps_the_lines_of_the_replica_that_was_lost() -> None:
    life = ReplicaLife(AgentsOfReplicas(report(0, 0), LAST))
    life.begin()
    life.seconds = 60
    for name, line in (("mydev-0", "of the first"), ("mydev-1", "of the second")):
        pod = copy.deepcopy(life.api.objects[("Pod", NAMESPACE, name)])
        left = f'{{"reason":"","lines":["{line}"],"oomKills":1}}'
        ended = {"exitCode": 143, "reason": "Error", "finishedAt": stamp(59), "message": left}
        pod["status"]["containerStatuses"][0]["lastState"] = {"terminated": ended}
        if name == "mydev-1":
            pod["metadata"]["deletionTimestamp"] = stamp(60)
            pod["status"]["containerStatuses"][0]["state"] = {"terminated": ended}
        life.cache.put(life.api.put(pod))
    life.reconcile()
    record = life.api.objects[("ConfigMap", NAMESPACE, f"{NAME}-ended")]["data"]
    assert (record["pod"], record["lines"]) == ("mydev-1", "of the second")
    assert "mydev-1: its pod was deleted" in record["message"]


def test_replica_that_is_deleted_is_an_interruption_once() -> None:
    life = ReplicaLife()
    life.begin()
    pod = copy.deepcopy(life.api.objects[("Pod", NAMESPACE, "mydev-1")])
    pod["metadata"]["deletionTimestamp"] = stamp(40)
    life.cache.put(life.api.put(pod))
    life.seconds = 10
    life.reconcile()
    (interrupted,) = [each for each in life.server()["status"]["conditions"] if each["type"] == "Interrupted"]
    assert "mydev-1: its pod was deleted, but not by you" in interrupted["message"]
    writes = len(life.api.log)
    life.seconds = 20
    life.reconcile()
    assert life.api.log[writes:] == []


def test_stop_scales_to_zero_and_start_is_a_new_stateful_set() -> None:
    life = ReplicaLife()
    life.begin()
    first = life.stateful_set()
    assert first is not None
    life.change(running=False)
    life.settle()
    stopped = life.stateful_set()
    assert stopped is not None
    assert (stopped["spec"]["replicas"], life.pod_names()) == (0, [])
    assert stopped["metadata"]["uid"] == first["metadata"]["uid"] or stopped["spec"]["replicas"] == 0
    assert "ready" not in life.server()["status"]
    life.seconds = 60
    life.change({"devservers.io/started-at": stamp(60)}, running=True)
    life.settle()
    assert life.pod_names() == ["mydev-0", "mydev-1"]
    assert f"delete StatefulSet/{NAME}" in life.api.log
    assert life.server()["status"]["phase"] == "Running"


def test_change_of_replicas_never_scales_a_running_stateful_set() -> None:
    """Kueue would mark the whole as finished and gate its pods for ever."""
    life = ReplicaLife()
    life.begin(2, persistentHomeSize="1Gi")
    seen: list[tuple[str, int]] = []
    life.api.before_write = lambda verb, obj: (
        seen.append((verb, obj["spec"]["replicas"])) if obj["kind"] == "StatefulSet" else None
    )
    life.seconds = 60
    life.change(distributed={"replicas": 3})
    life.settle()
    assert [replicas for _, replicas in seen] == [0, 3]
    assert life.pod_names() == ["mydev-0", "mydev-1", "mydev-2"]
    assert life.server()["status"]["ready"] == "3/3"
    assert not [each for each in life.server()["status"]["conditions"] if each["type"] == "Interrupted"]
    assert ("PersistentVolumeClaim", NAMESPACE, "home-mydev-2") in life.api.objects


def test_new_stateful_set_waits_for_pods_and_for_kueues_workload() -> None:
    life = ReplicaLife()
    life.begin()
    former = life.stateful_set()
    assert former is not None
    owner = {"kind": "StatefulSet", "name": NAME, "uid": former["metadata"]["uid"]}
    workload = {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "Workload",
        "metadata": {
            "name": "w",
            "namespace": NAMESPACE,
            "uid": "w",
            "resourceVersion": "1",
            "ownerReferences": [owner],
        },
    }
    life.cache.put(workload)
    life.change({"devservers.io/restarted-at": stamp(5)})
    life.seconds = 6
    life.settle()
    assert STATEFUL_SET in life.api.objects
    assert life.pod_names() == []
    assert f"delete StatefulSet/{NAME}" not in life.api.log
    assert [str(key) for key in map_to_keys(life.cache, "Workload", workload)] == [f"DevServer/{NAMESPACE}/{NAME}"]
    life.cache.forget(workload)
    life.settle()
    assert f"delete StatefulSet/{NAME}" in life.api.log
    assert life.server()["status"]["phase"] == "Running"


def test_missing_flavor_keeps_a_running_server_and_a_stopped_ones_record() -> None:
    life = ReplicaLife()
    life.begin()
    life.change(flavor="gone")
    life.settle()
    assert (life.pod_names(), life.server()["status"]["phase"]) == (["mydev-0", "mydev-1"], "Running")
    life.change(running=False)
    life.settle()
    life.change({"devservers.io/started-at": stamp(9)}, running=True)
    life.seconds = 9
    life.settle()
    assert life.ready()["reason"] == "FlavorNotFound"
    assert STATEFUL_SET in life.api.objects


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"worldSize": 5}, "WorldSize 5 is not 2 replicas times 1 processes of flavor small"),
        ({"replicas": 1000}, "less than or equal to 64"),
        ({"replicas": 0}, "greater than or equal to 2"),
    ],
)
def test_layout_that_can_not_be_is_refused_before_anything_is_made(spec: Json, words: str) -> None:
    world = World()
    world.user()
    world.flavor()
    server = world.server(mode="distributed", distributed={"replicas": 2, **spec})
    ready = world.conditions()["Ready"]
    assert ready["reason"] == "InvalidSpec"
    assert words in ready["message"]
    assert server["status"]["phase"] == "Failed"
    assert not [place for place in world.api.objects if place[0] in ("StatefulSet", "PersistentVolumeClaim")]


@pytest.mark.parametrize("change", [{"worldSize": 2}, {"worldSize": 9}, {"worldSize": 9, "nprocsPerNode": 2}])
def test_running_server_with_an_impossible_layout_keeps_its_pods_and_has_its_keys_corrected(change: Json) -> None:
    """A key that the person takes away must close also then."""
    life = ReplicaLife()
    life.begin(persistentHomeSize="1Gi")
    before = copy.deepcopy(life.stateful_set())
    assert before is not None
    launch = life.api.objects[("ConfigMap", NAMESPACE, "mydev-launch")]
    keys = ("ConfigMap", NAMESPACE, "mydev-keys")
    edited = copy.deepcopy(life.api.objects[keys])
    edited["data"]["authorized_keys"] += "ssh-ed25519 AAAAstolen\n"
    life.cache.put(life.api.put(edited))
    life.seconds = 60
    life.change(distributed={"replicas": 2, **change})
    life.settle()
    after = life.stateful_set()
    assert after is not None
    assert (after["metadata"]["uid"], after["spec"]) == (before["metadata"]["uid"], before["spec"])
    assert life.pod_names() == ["mydev-0", "mydev-1"]
    assert life.server()["status"]["phase"] == "Running"
    assert "stolen" not in life.api.objects[keys]["data"]["authorized_keys"]
    assert life.api.objects[("ConfigMap", NAMESPACE, "mydev-launch")]["data"] == launch["data"]
    refused = change["worldSize"] == 9
    assert ("It runs without the last change. WorldSize 9 is not" in life.ready()["message"]) == refused
    writes = len(life.api.log)
    life.seconds = 90
    life.reconcile()
    assert life.api.log[writes:] == []


def test_server_called_like_the_service_of_the_replicas_keeps_its_service() -> None:
    world = World()
    world.user()
    world.flavor()
    world.put("DevServer", "dev-ann", "mydev-replicas", spec={"flavor": "small"})
    world.server(mode="distributed", distributed={"replicas": 2})
    assert "mydev-replicas has the name of its Service" in world.conditions()["Ready"]["message"]
    assert ("Service", "dev-ann", "mydev-replicas") not in world.api.objects


def test_stop_of_an_impossible_layout_still_stops() -> None:
    life = ReplicaLife()
    life.begin()
    life.change(distributed={"replicas": 2, "worldSize": 9}, running=False)
    life.settle()
    stopped = life.stateful_set()
    assert stopped is not None
    assert stopped["spec"]["replicas"] == 0


def test_server_of_a_suspended_user_is_scaled_to_zero() -> None:
    life = ReplicaLife()
    life.begin()
    live = copy.deepcopy(life.api.objects[("DevServerUser", "", "ann")])
    live["spec"]["suspended"] = True
    life.cache.put(life.api.put(live))
    life.settle()
    stopped = life.stateful_set()
    assert stopped is not None
    assert (stopped["spec"]["replicas"], life.pod_names()) == (0, [])


def test_server_is_idle_only_if_each_replica_is() -> None:
    life = ReplicaLife(AgentsOfReplicas(report(0, 0), LAST))
    life.begin(lifecycle={"idleTimeout": "1h"})
    agents = agents_of(life)
    assert set(agents.planned) == {uid(life, 0), uid(life, 1)}
    life.seconds = 3700
    agents.answer = report(0, 3700)
    agents.answers[uid(life, 1)] = report(3690, 3700)
    life.reconcile()
    assert life.server()["status"]["phase"] == "Running"
    for seconds in (7400, 7800):  # announced, and due
        life.seconds = seconds
        agents.answer = report(0, seconds)
        agents.answers |= {uid(life, 1): report(3690, seconds)}
        life.settle()
    assert life.server()["status"]["stopReason"] == "idle"
    assert life.pod_names() == []


def test_unknown_activity_of_one_replica_keeps_the_server() -> None:
    life = ReplicaLife(AgentsOfReplicas(report(0, 0), LAST))
    life.begin(lifecycle={"idleTimeout": "1h"})
    agents = agents_of(life)
    life.seconds = 7400
    agents.answer = report(0, 7400)
    agents.answers[uid(life, 1)] = report(0, 0)
    life.reconcile()
    assert life.server()["status"]["phase"] == "Running"
    assert "ActivityUnknown" in [each["type"] for each in life.server()["status"]["conditions"]]


def test_stop_tells_every_replica_and_keeps_the_firsts_last_lines() -> None:
    life = ReplicaLife(AgentsOfReplicas(report(0, 0), LAST))
    life.begin()
    uids = {uid(life, 0), uid(life, 1)}
    life.seconds = 30
    life.change(running=False)
    life.settle()
    agents = agents_of(life)
    assert len(agents.finals) == len(uids) == 2
    ended = life.api.objects[("ConfigMap", NAMESPACE, f"{NAME}-ended")]["data"]
    assert (ended["lines"], ended["oomKills"]) == ("the end", "2")


def test_wish_of_any_replica_is_granted() -> None:
    life = ReplicaLife(AgentsOfReplicas(report(0, 0), LAST))
    life.begin(lifecycle={"timeToLive": "2h"})
    agents = agents_of(life)
    agents.answers[uid(life, 1)] = report(0, 0, Wish("a", "hold", 600, "mine"))
    life.reconcile()
    assert life.server()["spec"]["lifecycle"]["hold"]["reason"] == "mine"
    answers: list[tuple[WishAnswer, ...]] = [plan.answers for plan in agents.plans if plan.answers]
    assert answers
    assert answers[-1][0].accepted


def test_refused_home_of_one_replica_makes_no_pod() -> None:
    life = ReplicaLife()

    def refuse(verb: str, obj: Json) -> None:
        if obj["metadata"].get("name") == "home-mydev-1":
            text = "exceeded quota: dev-user, requested: requests.storage=1Gi, used: requests.storage=9Gi, limited: 9Gi"
            raise ApiError(403, "Forbidden", text)

    life.api.before_write = refuse
    life.begin(persistentHomeSize="1Gi")
    assert life.ready()["reason"] == "QuotaExceeded"
    assert STATEFUL_SET not in life.api.objects


def own_volume(life: ReplicaLife, name: str) -> Json:
    """A person's own volume claim, as the API server has it."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {}},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    life.cache.put(life.api.put(claim))
    return copy.deepcopy(life.api.objects[("PersistentVolumeClaim", NAMESPACE, name)])


def test_persons_own_volume_with_the_name_of_a_home_is_not_taken_over() -> None:
    life = ReplicaLife()
    claim = own_volume(life, "home-mydev-1")
    life.begin(persistentHomeSize="2Gi")
    assert life.ready()["reason"] == "InvalidSpec"
    assert "The volume claim home-mydev-1 is not a home of mydev" in life.ready()["message"]
    assert STATEFUL_SET not in life.api.objects
    place = ("PersistentVolumeClaim", NAMESPACE, "home-mydev-1")
    assert life.api.objects[place] == claim
    life.cache.forget(life.api.objects.pop(place))
    life.seconds = 60
    life.settle()
    assert life.server()["status"]["phase"] == "Running"


@pytest.mark.parametrize(
    "mark", [{"labels": {"devservers.io/name": NAME}}, {"annotations": {"devservers.io/home-of": NAME}}]
)
def test_home_of_a_former_server_of_the_name_is_used_again(mark: Json) -> None:
    life = ReplicaLife()
    claim = own_volume(life, "home-mydev-1")
    claim["metadata"] |= mark
    life.cache.put(life.api.put(claim))
    life.begin(persistentHomeSize="1Gi")
    assert life.server()["status"]["phase"] == "Running"


def test_volume_with_the_name_of_a_home_is_no_matter_to_a_server_without_homes() -> None:
    life = ReplicaLife()
    claim = own_volume(life, "home-mydev-0")
    life.begin()
    assert life.server()["status"]["phase"] == "Running"
    assert life.api.objects[("PersistentVolumeClaim", NAMESPACE, "home-mydev-0")] == claim


def test_running_server_goes_on_if_a_new_replicas_home_is_a_persons_own_volume() -> None:
    life = ReplicaLife()
    life.begin(2, persistentHomeSize="1Gi")
    before = copy.deepcopy(life.stateful_set())
    claim = own_volume(life, "home-mydev-2")
    life.cache.forget(life.api.objects.pop(("ConfigMap", NAMESPACE, "mydev-keys")))
    life.seconds = 60
    life.change(distributed={"replicas": 3})
    life.settle()
    assert (life.stateful_set(), life.pod_names()) == (before, ["mydev-0", "mydev-1"])
    assert "home-mydev-2 is not a home of mydev" in life.ready()["message"]
    assert life.api.objects[("PersistentVolumeClaim", NAMESPACE, "home-mydev-2")] == claim
    assert ("ConfigMap", NAMESPACE, "mydev-keys") in life.api.objects
    life.change(running=False)
    life.settle()
    assert life.pod_names() == []


def test_changes_of_its_objects_map_to_the_server() -> None:
    life = ReplicaLife()
    life.begin(persistentHomeSize="1Gi")
    found: dict[str, Any] = {}
    for kind, name in (
        ("StatefulSet", NAME),
        ("NetworkPolicy", "mydev-replicas"),
        ("PersistentVolumeClaim", "home-mydev-1"),
        ("Service", "mydev-replicas"),
    ):
        obj = life.api.objects[(kind, NAMESPACE, name)]
        found[kind] = [str(key) for key in map_to_keys(life.cache, kind, obj)]
    assert set(map(tuple, found.values())) == {(f"DevServer/{NAMESPACE}/{NAME}",)}
