"""A running server restarts for its owner's own change and for nothing else."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from devservers.build.devserver import BuildSettings, flavor_changed, manifests
from tests.support.operator.build_objects import child, flavor, request, server, user

NEWER = BuildSettings("registry.example/base:2", "registry.example/agent:2", "fast")
EDITED = {"resources": {"limits": {"cpu": "8"}}, "shmSize": "4Gi"}


def live(**changes: object) -> dict[str, Any]:
    return copy.deepcopy(child("Deployment", **changes))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"settings": NEWER},
        {"flavor": flavor(**EDITED)},
        {"flavor": None},
        {"user": user(env=[{"name": "A", "value": "b"}])},
        {"user": user(sshPublicKeys=[])},
        {"user": user(dotfiles="https://example.org/team/dotfiles")},
        {"server": server(persistentHomeSize="20Gi")},
        {"server": server(lifecycle={"timeToLive": "1h"})},
        {"server": server({"devservers.io/started-at": "2026-11-21T13:00:00Z"})},
    ],
)
def test_running_server_keeps_the_template_of_its_start(change: dict[str, Any]) -> None:
    homed = "server" in change and change["server"].spec.persistent_home_size
    before = live(server=server(persistentHomeSize="10Gi")) if homed else live()
    assert child("Deployment", live_workload=before, **change) == before


@pytest.mark.parametrize(
    "spec",
    [
        {"image": "alpine"},
        {"flavor": "cpu-large"},
        {"command": ["sleep", "1"]},
        {"env": [{"name": "A", "value": "b"}]},
        {"secrets": [{"name": "hf", "env": "HF_TOKEN"}]},
        {"persistentHomeSize": "10Gi"},
        {"sharedVolumeClaimName": "shared"},
        {"volumes": [{"claimName": "data", "mountPath": "/data"}]},
        {"enableSSH": False},
    ],
)
def test_owners_change_renders_the_template_again(spec: dict[str, Any]) -> None:
    before = live()
    after = child("Deployment", live_workload=before, server=server(**spec), settings=NEWER)
    assert after == child("Deployment", server=server(**spec), settings=NEWER)
    assert after["spec"]["template"] != before["spec"]["template"]


def test_restart_annotation_changes_the_template() -> None:
    asked = server({"devservers.io/restarted-at": "2026-11-21T13:00:00Z"})
    before = live()
    after = child("Deployment", live_workload=before, server=asked)
    assert after["spec"]["template"] != before["spec"]["template"]
    assert child("Deployment", live_workload=after, server=asked) == after


def test_server_without_safe_to_evict_gets_it_at_its_next_start() -> None:
    """The autoscaler evicts no server; what runs without saying so is not restarted to say it."""
    before = live()
    record = before["metadata"]["annotations"]
    kept = {
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "devservers.io/input-hash": record["devservers.io/input-hash"],
    }
    template = json.loads(record["devservers.io/template"])
    assert template["metadata"].pop("annotations") == kept
    record["devservers.io/template"] = json.dumps(template)
    before["spec"]["template"] = template
    assert child("Deployment", live_workload=before) == before
    stopped = child("Deployment", live_workload=before, running=False)
    assert child("Deployment", live_workload=stopped)["spec"]["template"]["metadata"]["annotations"] == kept


def test_drift_by_hand_is_put_back_to_the_record() -> None:
    before = live()
    drifted = copy.deepcopy(before)
    drifted["spec"]["template"]["spec"]["containers"][0]["image"] = "evil"
    assert child("Deployment", live_workload=drifted, settings=NEWER) == before


def test_stopped_server_keeps_the_record_and_starts_with_a_new_one() -> None:
    before = live()
    stopped = child("Deployment", live_workload=before, settings=NEWER, running=False)
    assert stopped["spec"]["replicas"] == 0
    assert stopped["spec"]["template"] == before["spec"]["template"]
    still = child("Deployment", live_workload=stopped, server=server(image="alpine"), settings=NEWER, running=False)
    assert still == stopped
    started = child("Deployment", live_workload=stopped, settings=NEWER)
    assert started == child("Deployment", settings=NEWER)
    assert started["spec"]["replicas"] == 1


def test_missing_flavor_leaves_the_deployment_out_only_for_a_start() -> None:
    before = live()
    kinds = [found["kind"] for found in manifests(request(flavor=None))]
    assert kinds == ["ConfigMap", "Service"]
    changed = request(flavor=None, live_workload=before, server=server(flavor="gone"))
    assert "Deployment" not in [found["kind"] for found in manifests(changed)]
    assert child("Deployment", flavor=None, live_workload=before, running=False)["spec"]["replicas"] == 0


@pytest.mark.parametrize("broken", [None, "", "[]", "{", '{"metadata":{}}'])
def test_unreadable_record_is_rendered_again(broken: str | None) -> None:
    before = live()
    damaged = copy.deepcopy(before)
    del damaged["metadata"]["annotations"]["devservers.io/template"]
    if broken is not None:
        damaged["metadata"]["annotations"]["devservers.io/template"] = broken
    assert child("Deployment", live_workload=damaged) == before


def test_flavor_changed_compares_what_a_pod_gets() -> None:
    before = live()
    assert not flavor_changed(before, flavor(description="new words", pricePerHour=3))
    assert not flavor_changed(
        before,
        flavor(resources={"requests": {"cpu": "500m", "memory": "0.5Gi"}, "limits": {"cpu": 2, "memory": "2Gi"}}),
    )
    assert flavor_changed(before, flavor(**EDITED))
    assert not flavor_changed(before, None)
    assert not flavor_changed(None, flavor(**EDITED))
    assert not flavor_changed(child("Deployment", running=False), flavor(**EDITED))


def test_hashes_equal_those_of_the_first_version() -> None:
    annotations = live()["metadata"]["annotations"]
    assert annotations["devservers.io/input-hash"] == "dc16a26be0de46c7"
    assert annotations["devservers.io/flavor-hash"] == "83e23f530c311bdd"


QUEUED = BuildSettings("registry.example/base:1", "registry.example/agent:1", queueing=True)
QUEUE_LABELS = {"kueue.x-k8s.io/queue-name": "interactive", "kueue.x-k8s.io/priority-class": "dev-interactive"}


def test_queueing_turned_on_restarts_nothing_and_queues_the_next_start() -> None:
    before = live()
    assert child("Deployment", live_workload=before, settings=QUEUED) == before
    asked = server({"devservers.io/restarted-at": "2026-11-21T13:00:00Z"})
    after = child("Deployment", live_workload=before, settings=QUEUED, server=asked)
    assert QUEUE_LABELS.items() <= after["spec"]["template"]["metadata"]["labels"].items()
    # Off again: it goes on as it was started, too.
    assert child("Deployment", live_workload=after, server=asked) == after


def test_queue_labels_are_on_the_template_only() -> None:
    made = child("Deployment", settings=QUEUED)
    assert QUEUE_LABELS.items() <= made["spec"]["template"]["metadata"]["labels"].items()
    assert not [name for name in made["metadata"]["labels"] if "kueue" in name]
    assert not [name for name in made["spec"]["selector"]["matchLabels"] if "kueue" in name]
    assert not [name for name in child("Deployment")["spec"]["template"]["metadata"]["labels"] if "kueue" in name]


def test_flavor_image_is_of_servers_that_name_none_and_enters_at_their_next_start() -> None:
    plain, torch = live(), flavor(image="registry.example/pytorch:1")
    assert child("Deployment", live_workload=plain, flavor=torch) == plain
    assert flavor_changed(plain, torch)
    made = live(flavor=torch)
    assert made["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/pytorch:1"
    assert not flavor_changed(made, torch)
    own = live(flavor=torch, server=server(image="alpine:3"))
    assert own["spec"]["template"]["spec"]["containers"][0]["image"] == "alpine:3"


def test_flavor_queue_is_in_the_flavor_hash() -> None:
    made = live(settings=QUEUED, flavor=flavor(queue="research"))
    assert made["spec"]["template"]["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"
    assert not flavor_changed(made, flavor(queue="research"))
    assert flavor_changed(made, flavor())
    assert not flavor_changed(live(settings=QUEUED, flavor=flavor(queue="interactive")), flavor())
