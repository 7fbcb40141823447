"""Which Events explain a start without progress, and when they are read."""

from __future__ import annotations

from datetime import timedelta

import pytest

from devservers.observe.causes import mount_failure_message
from devservers.observe.progress.warning_events import EventQuery, event_query, newest_message
from devservers_core.types import Json
from tests.support.operator.observe_objects import (
    SCHEDULED,
    at,
    condition,
    failing_deployment,
    look,
    pod,
    ready,
    running_pod,
    server,
    stamp,
    with_status,
)

RACE = 'admission webhook "mpod.kb.io" denied the request: ReplicaSet.apps "mydev-6c9f8b7d5" not found'
QUOTA = (
    'Error creating: pods "mydev-6c9-x2x" is forbidden: exceeded quota: dev-user, requested: requests.cpu=60m, '
    "used: requests.cpu=80m, limited: requests.cpu=60m"
)
NFS = (
    'MountVolume.SetUp failed for volume "pv-data" : mount failed: exit status 32\nMounting command: mount\n'
    "Mounting arguments: -t nfs 192.0.2.9:/x /var/lib/kubelet/pods/123/volumes/kubernetes.io~nfs/pv-data\n"
    "Output: mount.nfs: Connection refused"
)


def event(message: str, seconds: float, kind: str = "Pod", name: str = "mydev-1", reason: str = "FailedMount") -> Json:
    about = {"kind": kind, "name": name}
    return {"involvedObject": about, "reason": reason, "message": message, "lastTimestamp": stamp(seconds)}


def test_event_query_exists_only_for_a_start_without_progress() -> None:
    assert event_query(server(), None, None, at(5)) is None
    assert event_query(server(), None, running_pod(), at(99)) is None
    young = event_query(server(), None, pod(conditions=[SCHEDULED]), at(2))
    assert young == timedelta(seconds=4)
    hangs = event_query(server(), None, pod(conditions=[SCHEDULED]), at(30))
    assert isinstance(hangs, EventQuery)
    assert hangs.name == "mydev-1"
    later = event_query(server(), None, pod(conditions=[SCHEDULED]), at(3000))
    assert isinstance(later, EventQuery)
    assert hangs.requeue_after < later.requeue_after <= timedelta(seconds=60)


def test_newest_message_is_of_the_newest_matching_event() -> None:
    query = event_query(server(), failing_deployment(RACE), None, at(30))
    assert isinstance(query, EventQuery)
    events = [
        event(QUOTA, 20, "ReplicaSet", "mydev-6c9f8b7d5", "FailedCreate"),
        event("(combined from similar events): newest", 25, "ReplicaSet", "mydev-6c9f8b7d5", "FailedCreate"),
        event("another server's", 28, "ReplicaSet", "mydev-two-6c9f8b7d5", "FailedCreate"),
        event("of something else", 29, "ReplicaSet", "mydev-6c9f8b7d5", "Other"),
        event("of a former start", -30, "ReplicaSet", "mydev-6c9f8b7d5", "FailedCreate"),
    ]
    assert newest_message(query, events) == "newest"
    assert newest_message(query, events[2:]) is None


def test_newest_message_prefers_the_cause_to_the_kubelets_summary() -> None:
    query = event_query(server(), None, pod(conditions=[SCHEDULED]), at(30))
    assert isinstance(query, EventQuery)
    summary = "Unable to attach or mount volumes: unmounted volumes=[claim-0]: timed out waiting for the condition"
    assert newest_message(query, [event(NFS, 10), event(summary, 20)]) == NFS


@pytest.mark.parametrize(("told", "reason"), [(None, "Starting"), (RACE, "Starting"), (QUOTA, "QuotaExceeded")])
def test_phase_ignores_a_transient_rejection(told: str | None, reason: str) -> None:
    found = look(server(), 9, workload=failing_deployment(RACE), event_message=told).status
    assert ready(found)["reason"] == reason
    assert "webhook" not in ready(found)["message"]


def test_phase_has_a_lasting_webhook_rejection() -> None:
    found = look(server(), 9, workload=failing_deployment('admission webhook "a.b" denied the request: no'))
    assert ready(found.status)["reason"] == "PodRefused"


def test_phase_has_a_volume_that_cannot_be_mounted() -> None:
    hangs = pod(conditions=[SCHEDULED, condition("PodReadyToStartContainers", "False", 1)])
    found = ready(look(server(), 30, pods=(hangs,), event_message=NFS, volumes={"pv-data": "data"}).status)
    assert found["reason"] == "VolumeMountFailed"
    assert found["message"].startswith("The volume claim data can't be mounted: mount.nfs: Connection refused.")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('MountVolume.SetUp failed for volume "secrets" : secret "user-secret-deploy" not found',
         "The secret deploy doesn't exist. `devctl secret set deploy` makes it"),
        ('MountVolume.SetUp failed for volume "secrets" : references non-existent secret key: id',
         "A secret of this server has no key id. `devctl secret list` shows"),
    ],
)  # fmt: skip
def test_phase_has_a_secret_that_is_missing_as_a_file_and_one_event_says_so(text: str, words: str) -> None:
    hangs = pod(conditions=[SCHEDULED, condition("PodReadyToStartContainers", "False", 1)])
    before = with_status(server(), look(server(), 8, pods=(hangs,)).status)
    found = look(before, 30, pods=(hangs,), event_message=text)
    assert ready(found.status)["reason"] == "SecretNotFound"
    assert ready(found.status)["message"].startswith(words)
    assert [(event.type, event.reason) for event in found.events] == [("Warning", "SecretNotFound")]
    assert found.events[0].message.startswith(words)
    assert look(with_status(server(), found.status), 60, pods=(hangs,), event_message=text).events == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('Multi-Attach error for volume "pvc-1" Volume is already exclusively attached to one node',
         "The volume claim home can't be mounted: Volume is already exclusively attached"),
        ('AttachVolume.Attach failed for volume "pvc-1" : rpc error: no such volume',
         "The volume claim home can't be mounted: rpc error: no such volume"),
        ("Unable to attach or mount volumes: unmounted volumes=[claim-0], unattached volumes=[]: timed out",
         "The volume claim home can't be mounted: timed out"),
        ('MountVolume.SetUp failed for volume "host-key" : secret "mydev-host-key" not found',
         'The volume host-key can\'t be mounted: secret "mydev-host-key" not found'),
        ("something new", "A volume can't be mounted: something new"),
    ],
)  # fmt: skip
def test_mount_failure_message_names_the_claim(text: str, words: str) -> None:
    assert mount_failure_message(text, {"pvc-1": "home", "claim-0": "home"}).startswith(words)
