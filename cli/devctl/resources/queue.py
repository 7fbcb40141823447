"""The Kueue queue of a server: its position, and what never fits.

Invariant: read with the user's rights, on demand; what may not be read, or does not exist, is left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from devctl import validation
from devctl.resources.replicas import replicas_of
from devservers_core import names
from devservers_core.errors import ApiError
from devservers_core.kueue_quota import Demand, excess, flavor_demand, suggest_flavor

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


def cluster_queues(context: Context) -> dict[str, Json]:
    """Read the ClusterQueues by name; {} without Kueue or when they are not readable."""
    try:
        items = context.kube.get(f"/apis/{names.KUEUE_API_VERSION}/clusterqueues").get("items") or []
    except ApiError:
        return {}
    return {str(queue["metadata"]["name"]): queue for queue in items}


def is_waiting(server: Json) -> bool:
    """Whether a server waits for quota."""
    condition = admitted_condition(server)
    return condition.get("status") == "False" and condition.get("reason") != names.KUEUE_UNAVAILABLE


def admitted_condition(server: Json) -> Json:
    """The condition Admitted, {} for a server that is in no queue."""
    conditions = (server.get("status") or {}).get("conditions") or []
    return next((condition for condition in conditions if condition.get("type") == "Admitted"), {})


def position(context: Context, server: Json) -> str | None:
    """A waiting server's position, like `2nd of 3 in interactive`; None when not known."""
    if not is_waiting(server):
        return None
    if replicas_of(server) is None:
        owner = ("Pod", (server.get("status") or {}).get("podName"))
    else:
        owner = ("StatefulSet", server["metadata"]["name"])
    base = f"/apis/{names.KUEUE_API_VERSION}/namespaces/{context.namespace}/workloads"
    try:
        workloads = context.kube.get(base).get("items") or []
        workload = next((item for item in workloads if _owned_by(item, *owner)), None)
        queue = str(((workload or {}).get("spec") or {}).get("queueName") or "")
        if workload is None or not queue:
            return None
        pending = (
            f"/apis/{names.KUEUE_VISIBILITY_API_VERSION}/namespaces/{context.namespace}/localqueues/{quote(queue)}"
        )
        items = context.kube.get(f"{pending}/pendingworkloads").get("items") or []
    except ApiError:
        return None
    name = workload["metadata"]["name"]
    entry = next((item for item in items if (item.get("metadata") or {}).get("name") == name), None)
    if entry is None:
        return None
    at = int(entry.get("positionInClusterQueue") or 0) + 1
    total = int(((cluster_queues(context).get(queue) or {}).get("status") or {}).get("pendingWorkloads") or 0)
    return f"{ordinal(at)} of {max(total, at)} in {queue}" if total else f"{ordinal(at)} in {queue}"


def check_queue_quota(context: Context, flavor: Json, flavors: list[Json], replicas: int | None = None) -> None:
    """Raise CommandError when the whole quota of its queue is too small for this flavor, or that many replicas of it.

    The error names the nearest flavor that fits.
    """
    queues = cluster_queues(context)
    demand = of_replicas(flavor_demand(flavor.get("spec") or {}), replicas)
    too_much = excess(demand, queues)
    if too_much is None:
        return
    if replicas is not None:
        raise validation.refusal(
            f"{replicas} replicas of flavor {flavor['metadata']['name']} can never start: they ask for {too_much} "
            f"(queue {demand.queue})",
            "take fewer replicas or a smaller flavor (`devctl flavors`); --allow-missing creates it anyway",
        )
    similar = suggest(flavor, flavors, queues)
    raise validation.refusal(
        f"flavor {flavor['metadata']['name']} can never start: it asks for {too_much} (queue {demand.queue})",
        f"take {similar}, the nearest that fits; `devctl flavors` shows all; --allow-missing creates it anyway"
        if similar
        else "no flavor fits; ask an administrator (--allow-missing creates it anyway)",
    )


def of_replicas(demand: Demand, replicas: int | None) -> Demand:
    """What all replicas of a distributed server ask for; of another server, `replicas` None, the demand itself."""
    return replace(demand, requests={name: (replicas or 1) * needed for name, needed in demand.requests.items()})


def suggest(flavor: Json, flavors: list[Json], queues: dict[str, Json]) -> str | None:
    """The flavor that fits and differs least from `flavor`."""
    name = flavor["metadata"]["name"]
    demands = {str(other["metadata"]["name"]): flavor_demand(other.get("spec") or {}) for other in flavors}
    demands.pop(name, None)
    return suggest_flavor(flavor_demand(flavor.get("spec") or {}), demands, queues)


def restart_cost(context: Context, server: Json) -> str | None:
    """What a restart costs a server with a GPU from a queue; None when it costs nothing.

    The flavor's devices count, and that Kueue admitted the server or has it wait.
    """
    condition = admitted_condition(server)
    if not condition or condition.get("reason") == names.KUEUE_UNAVAILABLE:
        return None
    from devservers_core.client.paths import flavor_path

    name = str((server.get("spec") or {}).get("flavor"))
    try:
        devices = flavor_demand(context.kube.get(flavor_path(name)).get("spec") or {}).devices
    except ApiError:
        return "what it holds goes back to the queue, and it waits again if another server is first"
    if not devices:
        return None
    if condition.get("status") != "True":
        return "it gives up its place in the queue and goes to the end of it"
    what = "GPU" if devices == {names.GPU} else ", ".join(sorted(devices))
    return f"its {what} goes back to the queue, and it waits again if another server is first"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 11th."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{({1: 'st', 2: 'nd', 3: 'rd'}).get(number % 10, 'th')}"


def _owned_by(workload: Json, kind: str, name: str | None) -> bool:
    owners = workload["metadata"].get("ownerReferences") or []
    return name is not None and any(owner.get("kind") == kind and owner.get("name") == name for owner in owners)
