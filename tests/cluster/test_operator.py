"""One server under the operator from create to Ready, on a real API server."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from devservers_core.errors import ApiError
from devservers_core.types import Json
from tests.support.cluster.harness import ApiServer, Write
from tests.support.cluster.operator_process import (
    FakeKubelet,
    OperatorProcess,
    World,
    condition_of,
    flavor,
    operator_for,
    ready,
    server_of,
)
from tests.support.wait import eventually

OPERATOR_USER = "system:serviceaccount:devservers-system:devservers-operator"

_names = itertools.count(1)


@pytest.fixture(scope="module")
def operator(controllers: ApiServer) -> Iterator[OperatorProcess]:
    begun = controllers.audit_mark()  # other files' operators write to the same audit log
    with FakeKubelet(controllers.admin), operator_for(controllers) as process:
        yield process
        # Of everything that the tests of this file made it do, in whatever order they ran.
        assert _forbidden(process.log.splitlines()) == []
        refused = {(w.resource, w.verb) for w in controllers.writes(OPERATOR_USER, begun) if w.code == 403}
        assert refused <= {("persistentvolumeclaims", "patch")}


@pytest.fixture(scope="module")
def world(operator: OperatorProcess) -> World:
    return World(operator.server.admin)


@pytest.fixture
def ann(world: World) -> str:
    """A user of this test's own."""
    name = f"ann{next(_names)}"
    world.add_user(name)
    return name


def test_new_server_becomes_ready_within_twelve_writes(operator: OperatorProcess, world: World, ann: str) -> None:
    mark = operator.server.audit_mark()
    world.admin.create(server_of(ann, "mydev", persistentHomeSize="1Gi"))
    server = world.wait_reason(ann, "mydev", "Running")
    # The lease is renewed for all servers together, however long this takes.
    writes = [w for w in operator.server.writes(OPERATOR_USER, mark) if w.resource != "leases"]
    assert len(writes) <= 12, [(w.verb, w.resource, w.subresource, w.code) for w in writes]
    assert not [w for w in writes if w.code >= 400]

    status = server["status"]
    assert status["phase"] == "Running"
    assert status["endpoint"] == f"mydev.dev-{ann}.svc:22"
    assert status["sshHostKey"].startswith("ssh-ed25519 ")
    assert status["observedGeneration"] == server["metadata"]["generation"]
    stages = [entry["stage"] for entry in status["timeline"]]
    assert stages[0] == "Accepted"
    assert stages[-1] == "SSHReady"

    home = world.child("PersistentVolumeClaim", ann, "mydev-home")
    assert home is not None
    assert not home["metadata"].get("ownerReferences")
    secret = world.child("Secret", ann, "mydev-host-key")
    assert secret is not None
    assert secret["metadata"]["ownerReferences"][0]["uid"] == home["metadata"]["uid"]
    for kind, name in (("Service", "mydev"), ("ConfigMap", "mydev-keys"), ("Deployment", "mydev")):
        child = world.child(kind, ann, name)
        assert child is not None, kind
        assert child["metadata"]["ownerReferences"][0]["uid"] == server["metadata"]["uid"], kind

    def posted() -> list[str]:
        events = world.admin.list("v1", "Event", f"dev-{ann}")
        return [event["reason"] for event in events if event.get("reportingComponent") == "devservers-operator"]

    # It is posted after the status that was waited for.
    assert len(eventually(posted, "an Event")) <= 2, posted()


def _spec(world: World, kind: str, user: str, name: str) -> Json:
    """The spec of a child, empty while there is none."""
    return dict((world.child(kind, user, name) or {}).get("spec", {}))


def test_children_deleted_or_edited_are_restored(world: World, ann: str) -> None:
    world.admin.create(server_of(ann, "mydev"))
    world.wait_reason(ann, "mydev", "Running")
    namespace = f"dev-{ann}"
    for version, kind, name in (
        ("v1", "Service", "mydev"),
        ("v1", "ConfigMap", "mydev-keys"),
        ("apps/v1", "Deployment", "mydev"),
    ):
        before = world.admin.get(version, kind, name, namespace)["metadata"]["uid"]
        world.admin.delete(version, kind, name, namespace)

        def restored(kind: str = kind, name: str = name, before: str = before) -> bool:
            live = world.child(kind, ann, name)
            return live is not None and live["metadata"]["uid"] != before

        eventually(restored, f"{kind} restored")
    world.wait_reason(ann, "mydev", "Running")

    world.admin.patch("v1", "Service", "mydev", {"spec": {"ports": [{"port": 23}]}}, namespace)
    eventually(
        # It may be made anew, and so be away for a moment: an entry without a name can't be fixed in place.
        lambda: any(p["port"] == 22 for p in _spec(world, "Service", ann, "mydev").get("ports", [])),
        "port 22 restored",
    )
    world.admin.patch("apps/v1", "Deployment", "mydev", {"spec": {"replicas": 3}}, namespace)
    eventually(lambda: _spec(world, "Deployment", ann, "mydev").get("replicas") == 1, "one replica")


def test_host_key_deleted_comes_back_at_the_next_reconcile(world: World, ann: str) -> None:
    world.admin.create(server_of(ann, "mydev"))
    world.wait_reason(ann, "mydev", "Running")
    world.admin.delete("v1", "Secret", "mydev-host-key", f"dev-{ann}")
    world.admin.patch("v1", "ConfigMap", "mydev-keys", {"data": {"principals": "mallory\n"}}, f"dev-{ann}")
    eventually(lambda: world.child("Secret", ann, "mydev-host-key"), "host key restored")
    eventually(
        lambda: (world.child("ConfigMap", ann, "mydev-keys") or {})["data"]["principals"] == f"{ann}\n",
        "principals restored",
    )


def test_fields_of_other_managers_are_kept(world: World, ann: str) -> None:
    world.admin.create(server_of(ann, "mydev"))
    world.wait_reason(ann, "mydev", "Running")
    foreign = {"metadata": {"labels": {"example.com/mine": "yes"}, "annotations": {"example.com/note": "kept"}}}
    world.admin.patch("apps/v1", "Deployment", "mydev", foreign, f"dev-{ann}")
    world.admin.patch("v1", "Service", "mydev", {"spec": {"sessionAffinity": "ClientIP"}}, f"dev-{ann}")
    spec = {"spec": {"env": [{"name": "A", "value": "1"}]}}
    world.admin.patch("devservers.io/v1", "DevServer", "mydev", spec, f"dev-{ann}")

    def updated() -> bool:
        deployment = world.child("Deployment", ann, "mydev") or {}
        env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
        return {"name": "A", "value": "1"} in env

    eventually(updated, "env applied")
    deployment = world.child("Deployment", ann, "mydev") or {}
    assert deployment["metadata"]["labels"]["example.com/mine"] == "yes"
    assert deployment["metadata"]["annotations"]["example.com/note"] == "kept"
    assert (world.child("Service", ann, "mydev") or {})["spec"]["sessionAffinity"] == "ClientIP"


def test_field_removed_from_the_spec_is_removed_from_the_child(world: World, ann: str) -> None:
    world.admin.create(server_of(ann, "mydev", env=[{"name": "GONE", "value": "1"}]))
    world.wait_reason(ann, "mydev", "Running")
    world.admin.patch("devservers.io/v1", "DevServer", "mydev", {"spec": {"env": None}}, f"dev-{ann}")

    def names() -> list[str]:
        deployment = world.child("Deployment", ann, "mydev") or {}
        return [e["name"] for e in deployment["spec"]["template"]["spec"]["containers"][0]["env"]]

    eventually(lambda: "GONE" not in names(), "env removed")


def test_server_with_a_missing_flavor_starts_once_it_exists(world: World, ann: str) -> None:
    world.admin.create(server_of(ann, "mydev", f"later-{ann}"))
    server = world.wait_reason(ann, "mydev", "FlavorNotFound")
    assert f"later-{ann}" in ready(server)["message"]
    world.admin.create(flavor(f"later-{ann}"))
    world.wait_reason(ann, "mydev", "Running")


def test_server_with_a_missing_volume_starts_once_it_exists(world: World, ann: str) -> None:
    world.admin.create(server_of(ann, "mydev", sharedVolumeClaimName="data"))
    world.wait_reason(ann, "mydev", "VolumeNotFound")
    world.admin.create(_claim(ann, "data"))
    world.wait_reason(ann, "mydev", "Running")


def test_home_resize_grows_where_the_class_allows_and_never_shrinks(world: World, ann: str) -> None:
    for name, grows in (("grows", True), ("fixed", False)):
        world.admin.apply(
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": name},
                "provisioner": "example.com/none",
                "allowVolumeExpansion": grows,
            }
        )
        # A claim that is there already is picked up with the class it has.
        world.admin.create(_claim(ann, f"{name}-home", name, "2Gi"))
        world.admin.create(server_of(ann, name, persistentHomeSize="2Gi"))
        world.wait_reason(ann, name, "Running")

    _resize(world, ann, "grows", "1Gi")
    refused = world.wait(
        ann, "grows", lambda s: condition_of(s, "HomeResized").get("reason") == "ShrinkRefused", "shrink refused"
    )
    assert _home_size(world, ann, "grows") == "2Gi"
    assert ready(refused)["status"] == "True", "a refused shrink stops nothing"

    _resize(world, ann, "grows", "3Gi")
    eventually(lambda: _home_size(world, ann, "grows") == "3Gi", "grown")

    _resize(world, ann, "fixed", "3Gi")
    server = world.wait(
        ann, "fixed", lambda s: condition_of(s, "HomeResized").get("reason") == "NotExpandable", "refused"
    )
    assert condition_of(server, "HomeResized")["message"]
    assert _home_size(world, ann, "fixed") == "2Gi"


def test_server_with_an_image_that_cannot_be_pulled_has_the_reason(world: World, ann: str) -> None:
    world.admin.create(server_of(ann, "mydev", image="example.com/missing:1"))
    world.wait_reason(ann, "mydev", "ImagePullFailed")


def test_stop_and_start_keep_home_and_host_key(world: World, ann: str) -> None:
    world.admin.create(server_of(ann, "mydev", persistentHomeSize="1Gi"))
    host_key = world.wait_reason(ann, "mydev", "Running")["status"]["sshHostKey"]
    _run(world, ann, "mydev", False)
    stopped = world.wait(ann, "mydev", lambda s: s["status"].get("phase") == "Stopped", "stopped")
    assert stopped["status"]["stopReason"] == "user"
    eventually(lambda: not world.pods(ann, "mydev"), "pod gone")
    _run(world, ann, "mydev", True)
    assert world.wait_reason(ann, "mydev", "Running")["status"]["sshHostKey"] == host_key


def test_server_recreated_after_delete_reuses_its_home(world: World, ann: str) -> None:
    world.admin.create(server_of(ann, "mydev", persistentHomeSize="1Gi"))
    host_key = world.wait_reason(ann, "mydev", "Running")["status"]["sshHostKey"]
    home = (world.child("PersistentVolumeClaim", ann, "mydev-home") or {})["metadata"]["uid"]
    world.admin.delete("devservers.io/v1", "DevServer", "mydev", f"dev-{ann}")
    eventually(lambda: world.child("Deployment", ann, "mydev") is None, "Deployment collected", 60)
    assert world.child("PersistentVolumeClaim", ann, "mydev-home") is not None
    world.admin.create(server_of(ann, "mydev", persistentHomeSize="1Gi"))
    assert world.wait_reason(ann, "mydev", "Running")["status"]["sshHostKey"] == host_key
    assert (world.child("PersistentVolumeClaim", ann, "mydev-home") or {})["metadata"]["uid"] == home


def test_home_being_deleted_sets_the_condition_and_an_event(world: World, ann: str) -> None:
    world.admin.create(server_of(ann, "mydev", persistentHomeSize="1Gi"))
    world.wait_reason(ann, "mydev", "Running")
    claim = ("v1", "PersistentVolumeClaim", "mydev-home")
    # As Kubernetes does for a claim that a pod uses; there is no kubelet here.
    world.admin.patch(*claim, {"metadata": {"finalizers": ["example.com/in-use"]}}, f"dev-{ann}")
    world.admin.delete(*claim, f"dev-{ann}")
    told = world.wait(
        ann, "mydev", lambda s: condition_of(s, "VolumeDeleting").get("status") == "True", "VolumeDeleting"
    )
    assert "the home (volume claim mydev-home)" in condition_of(told, "VolumeDeleting")["message"].lower()
    assert ready(told)["status"] == "True"
    eventually(
        lambda: [e for e in world.admin.list("v1", "Event", f"dev-{ann}") if e["reason"] == "VolumeDeleting"],
        "an Event about it",
    )
    world.admin.patch(*claim, {"metadata": {"finalizers": None}}, f"dev-{ann}")
    world.wait(ann, "mydev", lambda s: not condition_of(s, "VolumeDeleting"), "no longer told")


def test_server_after_an_eviction_has_condition_interrupted(world: World, ann: str) -> None:
    """Through the Eviction API, which is what a drain uses."""
    world.admin.create(server_of(ann, "mydev", persistentHomeSize="1Gi"))
    world.wait_reason(ann, "mydev", "Running")
    pod, base = world.pods(ann, "mydev")[0]["metadata"]["name"], f"/api/v1/namespaces/dev-{ann}/pods"
    # On a node a pod takes its time to end, and is seen ending.
    target = {"apiVersion": "v1", "kind": "Node", "name": "node-7"}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": target}
    world.admin.request("POST", f"{base}/{pod}/binding", binding)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": f"dev-{ann}"}}
    world.admin.request("POST", f"{base}/{pod}/eviction", eviction)
    told = world.wait(ann, "mydev", lambda s: condition_of(s, "Interrupted").get("status") == "True", "Interrupted")
    found = condition_of(told, "Interrupted")
    assert found["reason"] == "Evicted"
    assert "evicted from its node node-7" in found["message"]
    assert "Its home is kept." in found["message"]
    eventually(
        lambda: [e for e in world.admin.list("v1", "Event", f"dev-{ann}") if e["reason"] == "Evicted"],
        "an Event about it",
    )
    world.admin.request("DELETE", f"{base}/{pod}", {"gracePeriodSeconds": 0})
    again = world.wait_reason(ann, "mydev", "Running")
    assert condition_of(again, "Interrupted") == found, "it stays told"
    asked = {"metadata": {"annotations": {"devservers.io/restarted-at": _now()}}}
    world.admin.patch("devservers.io/v1", "DevServer", "mydev", asked, f"dev-{ann}")
    world.wait(ann, "mydev", lambda s: not condition_of(s, "Interrupted"), "a restart of the owner's own ends it")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def test_server_over_quota_has_that_reason_despite_an_earlier_refusal(world: World, ann: str) -> None:
    """Kubernetes keeps the first refusal's text in its conditions, however many others followed."""
    bob = f"{ann}q"
    world.add_user(bob, quota={"cpu": "50m"})
    race = 'admission webhook "mpod.kb.io" denied the request: ReplicaSet.apps "mydev-5d9" not found'
    version, namespace = "admissionregistration.k8s.io/v1", f"dev-{bob}"
    policy = {
        "apiVersion": version,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": f"race-{bob}"},
        "spec": {
            "matchConstraints": {
                "resourceRules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
                ],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            },
            "validations": [{"expression": "false", "message": race}],
        },
    }
    world.admin.create(policy)
    binding = {
        "apiVersion": version,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": f"race-{bob}"},
        "spec": {"policyName": f"race-{bob}", "validationActions": ["Deny"]},
    }
    world.admin.create(binding)
    closed = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "a", "image": "a:1", "securityContext": closed}
    unprivileged = {"runAsNonRoot": True, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}}
    probe = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {"containers": [container], "securityContext": unprivileged},
    }

    def in_force() -> bool:
        try:
            world.admin.create(probe, dryRun="All")
        except ApiError as error:
            return race in error.message
        return False

    eventually(in_force, "the policy in force")
    world.admin.create(server_of(bob, "mydev"))

    def failure() -> str:
        found = (world.child("Deployment", bob, "mydev") or {}).get("status", {}).get("conditions", [])
        return next((each["message"] for each in found if each["type"] == "ReplicaFailure"), "")

    assert race in eventually(failure, "the first refusal")
    world.admin.delete(version, "ValidatingAdmissionPolicyBinding", f"race-{bob}")
    world.admin.delete(version, "ValidatingAdmissionPolicy", f"race-{bob}")
    seen: set[str] = set()

    def refused() -> bool:
        seen.add(str(ready(world.server(bob, "mydev")).get("reason")))
        return "QuotaExceeded" in seen

    eventually(refused, "the quota to be the reason", 60)
    assert "PodRefused" not in seen, seen
    assert race in failure(), "Kubernetes still says so"


def test_server_with_time_to_live_stops_after_it(world: World, ann: str) -> None:
    world.admin.create(server_of(ann, "mydev", lifecycle={"timeToLive": "2s"}))
    server = world.wait(ann, "mydev", lambda s: s.get("status", {}).get("phase") == "Stopped", "stopped by ttl")
    assert server["status"]["stopReason"] == "expired"
    assert (world.child("Deployment", ann, "mydev") or {})["spec"]["replicas"] == 0


def test_server_with_expiry_delete_is_deleted_and_its_home_kept(world: World, ann: str) -> None:
    world.admin.create(server_of(ann, "mydev", persistentHomeSize="1Gi"))
    eventually(lambda: world.child("PersistentVolumeClaim", ann, "mydev-home"), "its home")
    lifecycle = {"spec": {"lifecycle": {"timeToLive": "2s", "onExpiry": "delete"}}}
    world.admin.patch("devservers.io/v1", "DevServer", "mydev", lifecycle, f"dev-{ann}")
    eventually(
        lambda: world.admin.find("devservers.io/v1", "DevServer", "mydev", f"dev-{ann}") is None, "deleted by ttl"
    )
    assert world.child("PersistentVolumeClaim", ann, "mydev-home") is not None


def test_flavor_edit_sets_a_condition_and_restarts_nothing(world: World, ann: str) -> None:
    world.admin.create(flavor(f"edited-{ann}"))
    world.admin.create(server_of(ann, "mydev", f"edited-{ann}"))
    world.wait_reason(ann, "mydev", "Running")
    pod = world.pods(ann, "mydev")[0]["metadata"]["uid"]
    world.admin.apply(flavor(f"edited-{ann}", memory="2Gi"))
    world.wait(ann, "mydev", lambda s: condition_of(s, "FlavorChanged").get("status") == "True", "FlavorChanged")
    assert [p["metadata"]["uid"] for p in world.pods(ann, "mydev")] == [pod]
    _run(world, ann, "mydev", False)
    world.wait(ann, "mydev", lambda s: s["status"].get("phase") == "Stopped", "stopped")
    _run(world, ann, "mydev", True)
    world.wait_reason(ann, "mydev", "Running")
    containers = world.pods(ann, "mydev")[0]["spec"]["containers"]
    assert containers[0]["resources"]["limits"]["memory"] == "2Gi"


def test_fifty_pod_events_cause_one_write(operator: OperatorProcess, world: World, ann: str) -> None:
    def written(since: int, resource: str = "") -> list[Write]:
        found = operator.server.writes(OPERATOR_USER, since)
        return [w for w in found if w.namespace == f"dev-{ann}" and resource in ("", w.resource)]

    mark = operator.server.audit_mark()
    world.admin.create(server_of(ann, "mydev"))
    world.wait_reason(ann, "mydev", "Running")
    # Its last write: the Event that it runs.
    eventually(lambda: written(mark, "events"), "the Event on record")
    pod = world.pods(ann, "mydev")[0]["metadata"]["name"]
    mark = operator.server.audit_mark()
    for number in range(50):
        note = {"metadata": {"annotations": {"example.com/beat": str(number)}}}
        world.admin.patch("v1", "Pod", pod, note, f"dev-{ann}")
    world.admin.delete("v1", "Service", "mydev", f"dev-{ann}")  # a change whose handling can be seen
    eventually(lambda: world.child("Service", ann, "mydev"), "caught up")
    eventually(lambda: written(mark), "its write on record")
    assert len(written(mark)) == 1, written(mark)


def test_operator_over_a_servers_life_is_never_forbidden(operator: OperatorProcess, world: World, ann: str) -> None:
    mark, line = operator.server.audit_mark(), len(operator.log.splitlines())
    world.admin.create(server_of(ann, "mydev", persistentHomeSize="1Gi"))
    world.wait_reason(ann, "mydev", "Running")
    _run(world, ann, "mydev", False)
    world.wait(ann, "mydev", lambda server: server["status"]["phase"] == "Stopped", "stopped")
    _run(world, ann, "mydev", True)
    world.wait_reason(ann, "mydev", "Running")
    world.admin.delete("devservers.io/v1", "DevServer", "mydev", f"dev-{ann}")
    eventually(lambda: world.admin.find("devservers.io/v1", "DevServer", "mydev", f"dev-{ann}") is None, "deleted")

    def written() -> list[Write]:
        return [w for w in operator.server.writes(OPERATOR_USER, mark) if w.namespace == f"dev-{ann}"]

    eventually(lambda: any(w.resource == "events" for w in written()), "its Events on record")
    assert [w for w in written() if w.code == 403] == []
    assert _forbidden(operator.log.splitlines()[line:]) == []
    assert "BEGIN OPENSSH PRIVATE KEY" not in operator.log


def _forbidden(log: list[str]) -> list[str]:
    """Lines about a refusal; those of a claim that can't grow are the API server's, not a missing right."""
    said = [line.partition(" ")[2] for line in log]  # without the time, which may end in .403Z
    return [line for line in said if "403" in line and "resize" not in line]


def _claim(user: str, name: str, storage_class: str = "", size: str = "1Gi") -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": f"dev-{user}"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": size}},
        },
    }


def _resize(world: World, user: str, name: str, size: str) -> None:
    patch = {"spec": {"persistentHomeSize": size}}
    world.admin.patch("devservers.io/v1", "DevServer", name, patch, f"dev-{user}")


def _home_size(world: World, user: str, name: str) -> str:
    home = world.child("PersistentVolumeClaim", user, f"{name}-home") or {}
    return str(home["spec"]["resources"]["requests"]["storage"])


def _run(world: World, user: str, name: str, running: bool) -> None:
    world.admin.patch("devservers.io/v1", "DevServer", name, {"spec": {"running": running}}, f"dev-{user}")
