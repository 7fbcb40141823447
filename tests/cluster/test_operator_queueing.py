"""Servers that wait for quota, with Kueue's CRDs and a simulated Kueue."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devservers_core.client.api import MERGE_PATCH
from devservers_core.errors import ApiError
from devservers_core.types import Json
from tests.support.cluster.client import Client
from tests.support.cluster.devctl import Devctl
from tests.support.cluster.harness import ApiServer
from tests.support.cluster.kueue import (
    GPU,
    KUEUE,
    NEVER,
    WAITS,
    FakeKueue,
    cluster_queue,
    condition,
    install_kueue,
    remove_kueue,
    reserve,
)
from tests.support.cluster.operator_process import (
    OPERATOR,
    SYSTEM,
    FakeKubelet,
    OperatorProcess,
    World,
    condition_of,
    flavor,
    install_operator,
    operator_for,
    ready,
    running_operator,
    server_of,
)
from tests.support.wait import eventually

OPERATOR_USER = f"system:serviceaccount:{SYSTEM}:{OPERATOR}"
_names = itertools.count(1)


def gpu_flavor(name: str, gpus: int) -> Json:
    made = flavor(name)
    amounts = {"cpu": "100m", "memory": "128Mi", GPU: str(gpus)}
    made["spec"]["resources"] = {"requests": amounts, "limits": amounts}
    made["spec"]["nodeSelector"] = {"devservers.io/pool": "gpu-l4"}
    return made


@pytest.fixture(scope="module")
def prepared(controllers: ApiServer) -> ApiServer:
    install_kueue(controllers.admin)
    controllers.admin.apply(cluster_queue())
    controllers.admin.apply(cluster_queue("training", 0))
    return controllers


@pytest.fixture(scope="module")
def kueue(prepared: ApiServer) -> Iterator[FakeKueue]:
    with FakeKueue(prepared.admin) as found, FakeKubelet(prepared.admin, may_run=found.may_run):
        yield found


@pytest.fixture(scope="module")
def operator(prepared: ApiServer, kueue: FakeKueue) -> Iterator[OperatorProcess]:
    flavors = (gpu_flavor("gpu-one", 1), gpu_flavor("gpu-two", 2), gpu_flavor("gpu-eight", 8), flavor("cpu-small"))
    with operator_for(prepared, *flavors, queueing=True) as process:
        yield process


@pytest.fixture(scope="module")
def world(prepared: ApiServer) -> World:
    return World(prepared.admin)


@pytest.fixture
def ann(world: World, operator: OperatorProcess) -> str:
    """A user of this test's own."""
    name = f"quinn{next(_names)}"
    world.add_user(name)
    return name


@pytest.fixture
def devctl(prepared: ApiServer, ann: str, tmp_path: Path) -> Devctl:
    """Runs devctl as that user, with the rights of their service account."""
    return Devctl(tmp_path, prepared.kubeconfig_for(*prepared.service_account(f"dev-{ann}", "devctl")), ann)


def pod_of(world: World, user: str, name: str, but: str = "") -> Json:
    """The server's pod that isn't ending, another one than `but`."""

    def found() -> Json | None:
        alive = [each for each in world.pods(user, name) if not each["metadata"].get("deletionTimestamp")]
        return next((each for each in alive if each["metadata"]["name"] != but), None)

    return eventually(found, f"a pod of {name}")


def test_local_queues_of_a_user_are_made_and_restored(world: World, ann: str) -> None:
    for queue in ("interactive", "training"):
        found = world.admin.get(KUEUE, "LocalQueue", queue, f"dev-{ann}")
        assert found["spec"]["clusterQueue"] == queue
        assert found["metadata"]["ownerReferences"][0]["kind"] == "DevServerUser"
    world.admin.delete(KUEUE, "LocalQueue", "interactive", f"dev-{ann}")
    eventually(lambda: world.admin.find(KUEUE, "LocalQueue", "interactive", f"dev-{ann}"), "the queue is made again")


def test_local_queues_are_deleted_with_their_user(world: World, ann: str) -> None:
    world.admin.delete("devservers.io/v1", "DevServerUser", ann)
    eventually(lambda: world.admin.find("v1", "Namespace", f"dev-{ann}") is None, "namespace gone", 60)


def test_queued_server_shows_the_reason_and_starts_when_admitted(
    operator: OperatorProcess, world: World, kueue: FakeKueue, ann: str
) -> None:
    reserve(world.admin, 4)
    mark = operator.server.audit_mark()
    world.admin.create(server_of(ann, "mydev", "gpu-one", persistentHomeSize="1Gi"))
    server = world.wait_reason(ann, "mydev", "Queued")
    assert server["status"]["phase"] == "Pending"
    assert ready(server)["message"] == (
        "Waits for quota: needs 1 GPU, 0 of 4 are free in pool gpu-l4; starts by itself when one comes free."
    )
    admitted = condition_of(server, "Admitted")
    assert (admitted["status"], admitted["reason"], admitted["message"]) == ("False", "Queued", WAITS)
    template = (world.child("Deployment", ann, "mydev") or {})["spec"]["template"]["metadata"]["labels"]
    assert template["kueue.x-k8s.io/queue-name"] == "interactive"
    assert template["kueue.x-k8s.io/priority-class"] == "dev-interactive"

    kueue.admitted.add(f"{ann}/mydev")
    server = world.wait_reason(ann, "mydev", "Running")
    stages = [entry["stage"] for entry in server["status"]["timeline"]]
    assert stages[:4] == ["Accepted", "Queued", "Admitted", "Scheduled"]
    assert condition_of(server, "Admitted")["status"] == "True"
    writes = operator.server.writes(OPERATOR_USER, mark)
    mine = [each for each in writes if each.namespace == f"dev-{ann}"]
    assert len(mine) <= 15, [(w.verb, w.resource, w.subresource, w.name) for w in mine]


def test_server_admitted_at_once_takes_no_more_writes(
    operator: OperatorProcess, world: World, kueue: FakeKueue, ann: str
) -> None:
    kueue.admitted.add(f"{ann}/mydev")
    mark = operator.server.audit_mark()
    world.admin.create(server_of(ann, "mydev", "gpu-one"))
    server = world.wait_reason(ann, "mydev", "Running")
    assert "Queued" in [entry["stage"] for entry in server["status"]["timeline"]]
    mine = [each for each in operator.server.writes(OPERATOR_USER, mark) if each.namespace == f"dev-{ann}"]
    assert len(mine) <= 12, [(w.verb, w.resource, w.subresource, w.name) for w in mine]


def test_queued_server_message_follows_the_free_quota(world: World, ann: str) -> None:
    reserve(world.admin, 4)
    world.admin.create(server_of(ann, "mydev", "gpu-two"))
    world.wait_reason(ann, "mydev", "Queued")
    reserve(world.admin, 3)
    world.wait(ann, "mydev", lambda s: "1 of 4 are free" in ready(s)["message"], "the new number")


def test_server_over_the_whole_quota_suggests_the_nearest_flavor(world: World, kueue: FakeKueue, ann: str) -> None:
    reserve(world.admin, 0)
    kueue.told[f"{ann}/mydev"] = ("Pending", NEVER)
    world.admin.create(server_of(ann, "mydev", "gpu-eight"))
    server = world.wait_reason(ann, "mydev", "ExceedsQuota")
    message = ready(server)["message"]
    assert "asks for 8 GPUs, and the whole quota is 4 in pool gpu-l4" in message
    assert "The nearest flavor that fits is gpu-two" in message


def test_preempted_server_shows_the_reason_and_resumes(world: World, kueue: FakeKueue, ann: str) -> None:
    reserve(world.admin, 4)
    kueue.admitted.add(f"{ann}/mydev")
    world.admin.create(server_of(ann, "mydev", "gpu-one", persistentHomeSize="1Gi"))
    world.wait_reason(ann, "mydev", "Running")
    pod = pod_of(world, ann, "mydev")
    # What Kueue does: the Workload is evicted, the pod deleted, and the next one waits.
    kueue.admitted.discard(f"{ann}/mydev")
    told = "Preempted to accommodate a workload (UID: gone, JobUID: UNKNOWN) due to prioritization in the ClusterQueue"
    world.admin.patch("v1", "Pod", pod["metadata"]["name"], {"metadata": {"finalizers": ["example.com/held"]}},
                      f"dev-{ann}")  # fmt: skip
    kueue.tell(pod, condition("Evicted", "True", "Preempted", told))
    world.admin.delete("v1", "Pod", pod["metadata"]["name"], f"dev-{ann}")
    server = world.wait_reason(ann, "mydev", "Preempted")
    assert "Its home is kept" in ready(server)["message"]
    pod_of(world, ann, "mydev", pod["metadata"]["name"])
    world.admin.patch("v1", "Pod", pod["metadata"]["name"], {"metadata": {"finalizers": None}}, f"dev-{ann}")
    server = world.wait(ann, "mydev", lambda s: "0 of 4 are free" in ready(s)["message"], "what it waits for")
    assert ready(server)["reason"] == "Preempted"
    kueue.admitted.add(f"{ann}/mydev")
    server = world.wait_reason(ann, "mydev", "Running")
    assert condition_of(server, "Admitted")["status"] == "True"


def test_server_with_a_missing_queue_has_the_reason(world: World, kueue: FakeKueue, ann: str) -> None:
    kueue.told[f"{ann}/mydev"] = ("Inadmissible", "LocalQueue interactive doesn't exist")
    world.admin.create(server_of(ann, "mydev", "gpu-one"))
    server = world.wait_reason(ann, "mydev", "QueueNotFound")
    assert "There is no queue interactive" in ready(server)["message"]


def test_server_with_an_inactive_workload_has_reason_deactivated(world: World, kueue: FakeKueue, ann: str) -> None:
    world.admin.create(server_of(ann, "mydev", "gpu-one"))
    world.wait_reason(ann, "mydev", "Queued")
    kueue.tell(pod_of(world, ann, "mydev"), condition("QuotaReserved", "False", "Pending", WAITS), active=False)
    server = world.wait_reason(ann, "mydev", "Deactivated")
    assert "`devctl restart mydev`" in ready(server)["message"]


def _asks_the_webhook(world: World, user: str) -> bool:
    container = {"name": "probe", "image": "example.com/probe:1"}
    metadata = {"name": "probe", "namespace": f"dev-{user}"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
    try:
        world.admin.create(pod, dryRun="All")
    except ApiError as error:
        return "failed calling webhook" in error.message
    return False


def test_kueue_webhook_without_an_answer_gives_reason_kueue_unavailable(
    world: World, kueue: FakeKueue, ann: str
) -> None:
    service = {"name": "kueue-webhook-service", "namespace": "kueue-system", "path": "/mutate--v1-pod"}
    hook = {
        "name": "mpod.kb.io",
        "clientConfig": {"service": service},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": f"dev-{ann}"}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    config = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": f"kueue-{ann}"},
        "webhooks": [hook],
    }
    kueue.admitted.add(f"{ann}/mydev")
    world.admin.create(config)
    try:
        # It is in force when the API server has heard of it.
        eventually(lambda: _asks_the_webhook(world, ann), "the API server to ask the webhook")
        world.admin.create(server_of(ann, "mydev", "gpu-one"))
        server = world.wait_reason(ann, "mydev", "KueueUnavailable")
        assert "doesn't answer" in ready(server)["message"]
    finally:
        world.admin.delete("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", f"kueue-{ann}")
    world.wait_reason(ann, "mydev", "Running", 90)


def test_quota_changes_cause_a_bounded_number_of_writes(operator: OperatorProcess, world: World, ann: str) -> None:
    servers = [f"many{index}" for index in range(20)]
    reserve(world.admin, 4)
    for name in servers:
        world.admin.create(server_of(ann, name, "gpu-two"))
    for name in servers:
        world.wait_reason(ann, name, "Queued", 60)
    mark, began = operator.server.audit_mark(), time.monotonic()
    for turn in range(30):
        reserve(world.admin, 3 + turn % 2)
    reserve(world.admin, 3)
    for name in servers:
        world.wait(ann, name, lambda s: "1 of 4 are free" in ready(s)["message"], "the last number")
    took = time.monotonic() - began
    written = [each for each in operator.server.writes(OPERATOR_USER, mark) if each.namespace == f"dev-{ann}"]
    # Each is looked at once in half of the time at the earliest.
    assert len(written) <= len(servers) * (1 + took / 2.5), (len(written), took)
    for name in servers:
        world.admin.delete("devservers.io/v1", "DevServer", name, f"dev-{ann}")


def refused(client: Client, method: str, path: str, body: Json | None = None, form: str = "application/json") -> bool:
    """Whether a request is forbidden (anything else is a fault of the test)."""
    try:
        client.request(method, path, body, form)
    except ApiError as error:
        assert error.status == 403, error
        return True
    return False


def test_user_can_read_but_not_change_queues_and_workloads(
    prepared: ApiServer, world: World, kueue: FakeKueue, ann: str
) -> None:
    world.admin.create(server_of(ann, "mydev", "gpu-one"))
    world.wait_reason(ann, "mydev", "Queued")
    person = prepared.client_for(*prepared.service_account(f"dev-{ann}", "devctl"))
    space = f"/apis/{KUEUE}/namespaces/dev-{ann}"
    pod = pod_of(world, ann, "mydev")["metadata"]["name"]
    assert [each["metadata"]["name"] for each in person.list(KUEUE, "Workload", f"dev-{ann}")] == [f"pod-{pod}"]
    assert len(person.list(KUEUE, "LocalQueue", f"dev-{ann}")) == 2
    assert len(person.list(KUEUE, "ClusterQueue")) >= 2
    better = {"spec": {"priority": 100000}}
    assert refused(person, "PATCH", f"{space}/workloads/pod-{pod}", better, MERGE_PATCH)
    assert refused(person, "DELETE", f"{space}/workloads/pod-{pod}")
    assert refused(person, "PATCH", f"{space}/localqueues/interactive", {"spec": {"stopPolicy": "None"}}, MERGE_PATCH)
    queue = {"apiVersion": KUEUE, "kind": "LocalQueue", "metadata": {"name": "mine"},
             "spec": {"clusterQueue": "training"}}  # fmt: skip
    assert refused(person, "POST", f"{space}/localqueues", queue)
    label = {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "training"}}}
    assert refused(person, "PATCH", f"/api/v1/namespaces/dev-{ann}/pods/{pod}", label, MERGE_PATCH)
    assert refused(person, "PATCH", f"/apis/apps/v1/namespaces/dev-{ann}/deployments/mydev", label, MERGE_PATCH)
    assert refused(person, "GET", f"/apis/{KUEUE}/workloads")
    assert refused(person, "GET", f"/apis/{KUEUE}/namespaces/default/workloads")
    # A label of the DevServer's own is no way in.
    person.patch("devservers.io/v1", "DevServer", "mydev", label, f"dev-{ann}")
    person.patch("devservers.io/v1", "DevServer", "mydev", {"spec": {"env": [{"name": "A", "value": "b"}]}},
                 f"dev-{ann}")  # fmt: skip
    after = pod_of(world, ann, "mydev", pod)["metadata"]["labels"]
    assert (after["kueue.x-k8s.io/queue-name"], after["kueue.x-k8s.io/priority-class"]) == (
        "interactive", "dev-interactive",
    )  # fmt: skip


def test_operator_can_make_the_platforms_queues_only(prepared: ApiServer, ann: str) -> None:
    client = prepared.client_for(*prepared.service_account(SYSTEM, OPERATOR))

    def queue(name: str, target: str, namespace: str) -> bool:
        body = {"apiVersion": KUEUE, "kind": "LocalQueue", "metadata": {"name": name, "namespace": namespace},
                "spec": {"clusterQueue": target}}  # fmt: skip
        try:
            client.create(body, dryRun="All")
        except ApiError as error:
            assert error.status in (403, 409), error
            return error.status == 409
        return True

    assert queue("interactive", "interactive", f"dev-{ann}")
    assert not queue("other", "interactive", f"dev-{ann}")
    assert not queue("training", "interactive", f"dev-{ann}")
    assert not queue("interactive", "interactive", "default")
    base = f"/apis/{KUEUE}"
    assert refused(client, "DELETE", f"{base}/namespaces/dev-{ann}/localqueues/interactive")
    assert refused(client, "DELETE", f"{base}/namespaces/dev-{ann}/workloads/any")
    assert refused(client, "DELETE", f"{base}/clusterqueues/interactive")


def test_devctl_shows_the_wait_and_the_free_quota(world: World, kueue: FakeKueue, devctl: Devctl, ann: str) -> None:
    reserve(world.admin, 4)
    done = devctl("create", "mydev", "gpu-one", "--wait", "20s", code=5)
    assert "Pending: Waits for quota: needs 1 GPU, 0 of 4 are free in pool gpu-l4" in done.stderr
    assert "Waits for quota: needs 1 GPU" in devctl("list").stdout
    shown = devctl("describe", "mydev").stdout
    assert "Waits for quota: needs 1 GPU, 0 of 4 are free" in shown
    assert "In the queue" not in shown, "nobody serves the visibility API here"
    waiting = devctl.start("create", "other", "gpu-one", "--wait", "60s")
    eventually(lambda: world.admin.find("devservers.io/v1", "DevServer", "other", f"dev-{ann}"), "other is made")
    world.wait_reason(ann, "other", "Queued")
    kueue.admitted.add(f"{ann}/other")
    _, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, err
    assert all(each in err for each in ("Queued", "Admitted", "is ready after")), err

    reserve(world.admin, 1)
    table = devctl("flavors").stdout.splitlines()
    assert "FREE" in table[0]
    row = next(line for line in table if line.startswith("gpu-one"))
    assert "3 of 4" in row
    assert "1 of 2" in next(line for line in table if line.startswith("gpu-two"))
    assert "0 of 0" in next(line for line in table if line.startswith("gpu-eight"))


def test_devctl_create_over_the_whole_quota_is_refused(world: World, devctl: Devctl, ann: str) -> None:
    done = devctl("create", "mydev", "gpu-eight", code=6)
    assert "gpu-eight can never start" in done.stderr
    assert "asks for 8 GPUs, and the whole quota is 4 in pool gpu-l4" in done.stderr
    assert "take gpu-two, the nearest that fits" in done.stderr
    assert world.admin.list("devservers.io/v1", "DevServer", f"dev-{ann}") == []
    devctl("create", "mydev", "gpu-eight", "--allow-missing")


def test_devctl_restart_of_a_gpu_server_needs_confirmation(
    world: World, kueue: FakeKueue, devctl: Devctl, ann: str
) -> None:
    kueue.admitted |= {f"{ann}/mydev", f"{ann}/small"}
    devctl("create", "mydev", "gpu-one", "--wait", "60s")
    before = pod_of(world, ann, "mydev")["metadata"]["name"]
    done = devctl("restart", "mydev", code=2)
    assert "its GPU goes back to the queue" in done.stderr
    assert "add --yes" in done.stderr
    assert pod_of(world, ann, "mydev")["metadata"]["name"] == before
    devctl("restart", "mydev", "--yes")
    pod_of(world, ann, "mydev", before)
    # Of a server without a GPU nothing is asked.
    devctl("create", "small", "cpu-small", "--wait", "60s")
    assert "queue" not in devctl("restart", "small").stderr


def test_devctl_flavors_with_aws_lists_machines(world: World, devctl: Devctl) -> None:
    made = gpu_flavor("gpu-aws", 1)
    made["metadata"]["annotations"] = {
        "devservers.io/instance-type": "g6.xlarge", "devservers.io/gpu-model": "L4",
        "devservers.io/gpu-memory": "24Gi", "devservers.io/capacity": "SPOT",
    }  # fmt: skip
    made["spec"]["pricePerHour"] = 0.8048
    world.admin.apply(made)
    header, *rows = devctl("flavors", "--aws").stdout.splitlines()
    assert header.split() == [
        "NAME", "MACHINE", "GPUS", "GPU", "MEMORY", "CPU", "MEMORY", "$/HOUR", "CAPACITY", "FREE", "DESCRIPTION",
    ]  # fmt: skip
    assert len(rows) == 1
    for word in ("gpu-aws", "g6.xlarge", "1 x L4", "24Gi", "0.80", "spot"):
        assert word in rows[0]


def test_operator_with_queueing_switched_on_restarts_no_server() -> None:
    """In a cluster of its own, since it counts writes."""
    from tests.support.cluster.harness import running_api_server, running_controllers
    from tests.support.cluster.shipped import install

    with running_api_server() as server:
        install(server.admin)
        with running_controllers(server):
            _on_and_off(server)


def _on_and_off(server: ApiServer) -> None:
    install_operator(server)
    world = World(server.admin)
    server.admin.apply(gpu_flavor("gpu-one", 1))
    with FakeKueue(server.admin) as kueue, FakeKubelet(server.admin, steps=False, may_run=kueue.may_run):
        with running_operator(server, "off"):
            world.add_user("ann")
            server.admin.create(server_of("ann", "mydev", "gpu-one"))
            world.wait_reason("ann", "mydev", "Running")
        pod = pod_of(world, "ann", "mydev")["metadata"]["name"]

        # Queueing on, and no Kueue: servers go on and start; it is told; the operator lives, and goes when Kueue comes.
        remove_kueue(server.admin)
        with running_operator(server, "without", queueing=True) as process:
            server.admin.create(server_of("ann", "second", "gpu-one"))
            kueue.admitted.add("ann/second")
            second = world.wait(
                "ann", "second", lambda s: condition_of(s, "Admitted").get("reason") == "KueueUnavailable", "it is told"
            )
            assert condition_of(second, "Admitted")["status"] == "False"
            world.wait_reason("ann", "second", "Running")
            world.add_user("bob")
            assert pod_of(world, "ann", "mydev")["metadata"]["name"] == pod
            assert process.process.poll() is None
            install_kueue(server.admin)
            server.admin.apply(cluster_queue())
            process.wait_for_log("Kueue is installed now")
            assert process.process.wait(30) == 0

        mark = server.audit_mark()
        with running_operator(server, "on", queueing=True):
            eventually(lambda: server.admin.find(KUEUE, "LocalQueue", "training", "dev-bob"), "bob's queues")
            eventually(lambda: server.admin.find(KUEUE, "LocalQueue", "training", "dev-ann"), "ann's queues")
            # Here, while somebody runs to write it.
            world.wait(
                "ann", "second", lambda s: condition_of(s, "Admitted").get("status") == "True", "second is admitted"
            )
        written = {(each.resource, each.namespace) for each in server.writes(OPERATOR_USER, mark)}
        assert {each for each in written if each[0] not in ("leases", "localqueues")} <= {("devservers", "dev-ann")}
        assert pod_of(world, "ann", "mydev")["metadata"]["name"] == pod

        mark = server.audit_mark()
        with running_operator(server, "again", queueing=True):
            pass
        again = [each for each in server.writes(OPERATOR_USER, mark) if each.resource != "leases"]
        assert again == []
        assert pod_of(world, "ann", "mydev")["metadata"]["name"] == pod
