"""The time from free quota to the waiting server's pod on a node."""

from __future__ import annotations

from tests.bench.figure import Figure, percentile
from tests.support.node.person import Person
from tests.support.node.queue_latency import schedule_latency
from tests.support.node.queueing import apply, gpu_flavor

RUNS = 20
BOUND_SECONDS = 3.0


def queue_to_running(ann: Person) -> Figure:
    """Quota that comes free to the waiting server's pod scheduled, two servers taking turns; the 95th percentile."""
    ann.platform.run("up", "--no-demo", "--fake-gpus", "1")
    apply(ann.platform, gpu_flavor("gpu-all", 1))
    holder, waiter = "turn0", "turn1"
    for name in (holder, waiter):
        ann.devctl("create", name, "gpu-all", "--ephemeral")
    ann.devctl("start", holder, "--wait", "3m")
    taken: list[float] = []
    for _ in range(RUNS):
        taken.append(schedule_latency(ann, holder, waiter))
        ann.devctl("start", waiter, "--wait", "3m")  # it runs already, or will in a moment
        ann.devctl("start", holder)
        holder, waiter = waiter, holder
    for name in (holder, waiter):
        ann.devctl("delete", name, "--yes")
    return Figure("queue_to_running", percentile(taken, 0.95), "s", bound=BOUND_SECONDS, runs=RUNS)
