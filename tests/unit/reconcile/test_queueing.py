"""A server's queue state, read from the cache."""

from __future__ import annotations

from typing import Any

from devservers.api.user import DevServerUser
from devservers.observe.queueing.state import QueueState
from devservers.reconcile.queueing import Queueing
from devservers.runtime.cache import Cache
from devservers_core.types import Json
from tests.support.operator.observe_objects import at, server, stamp, user
from tests.support.operator.queue_objects import (
    GPU,
    admission,
    cluster_queue,
    evicted,
    queued_pod,
    taker,
    workload,
)

ON = Queueing(enabled=True, served=True)


def flavor(name: str, gpus: str) -> Json:
    amounts = {"cpu": "4", "memory": "8Gi", GPU: gpus}
    return {"kind": "DevServerFlavor", "metadata": {"name": name}, "spec": {"resources": {"limits": amounts}}}


def state(
    pod: Json, *objects: Json, queueing: Queueing = ON, owner: DevServerUser | None = None, **spec: Any
) -> QueueState | None:
    cache = Cache()
    for version, obj in enumerate((cluster_queue(), *objects), 1):
        cache.put({**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}})
    return queueing.state(cache, server(**spec), owner or user(), [pod], pod, at(30))


def test_available_needs_the_setting_and_kueue() -> None:
    assert [Queueing(enabled, served).available for enabled in (True, False) for served in (True, False)] == [
        True,
        False,
        False,
        False,
    ]


def test_state_with_queueing_off_is_none() -> None:
    assert state(queued_pod(), queueing=Queueing(served=True)) is None


def test_state_of_an_admitted_workload_has_its_time() -> None:
    found = state(queued_pod(gate=False), workload("mydev-1", 1, *admission(4)), workload("other-1", 1))
    assert found is not None
    assert (found.reason, found.admitted_at) == ("Admitted", at(4))


def test_state_of_an_evicted_workload_names_the_preemptor_from_another_namespace() -> None:
    pod = queued_pod(gate=False, deletionTimestamp=stamp(21))
    found = state(pod, workload("mydev-1", 1, *admission(2), evicted()), taker(), persistentHomeSize="1Gi")
    assert found is not None
    assert found.reason == "Preempted"
    assert "a workload of bob with priority urgent. Its home is kept" in found.message


def test_state_of_a_pod_that_never_fits_suggests_an_allowed_flavor() -> None:
    pod = queued_pod(requests={GPU: "8"})
    flavors = [flavor("cpu-small", "8"), flavor("four", "4"), {"kind": "DevServerFlavor", "metadata": {"name": "bad"}}]
    found = state(pod, workload(), *flavors)
    assert found is not None
    assert found.reason == "ExceedsQuota"
    assert "The nearest flavor that fits is four" in found.message
    found = state(pod, workload(), *flavors, owner=user(flavors=["cpu-small"]))
    assert found is not None
    assert "no flavor you may use fits" in found.message


def test_state_of_a_pod_that_never_fits_without_its_flavor_gives_general_advice() -> None:
    found = state(queued_pod(requests={GPU: "8"}), workload())
    assert found is not None
    assert "Choose a smaller flavor" in found.message
