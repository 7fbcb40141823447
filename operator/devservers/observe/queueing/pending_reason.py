"""Why a server waits for quota, with rounded numbers from the ClusterQueues.

Kueue's message names the pools and resources it tried in vain. Numbers are rounded so that they change only when it
matters to who waits. Kueue's messages (v0.18): pkg/scheduler/flavorassigner/flavorassigner.go,
pkg/scheduler/scheduler.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from devservers_core.kueue_quota import (
    MAX_POOLS_SHOWN,
    Choices,
    Demand,
    Headroom,
    amount_text,
    choices,
    container_requests,
    excess,
    number_text,
    possible,
    resource_name,
)
from devservers_core.names import GPU, LABEL_POOL
from devservers_core.types import Json

_INSUFFICIENT = re.compile(r"insufficient unused quota for (\S+) in flavor ([^\s,;]+)")
_NEVER = re.compile(r"insufficient quota for (\S+) in flavor ([^\s,;]+), previously")
_UNAVAILABLE = re.compile(r"resource (\S+) unavailable in ClusterQueue")
_MISMATCH = re.compile(r"flavor (\S+) doesn't match node affinity|untolerated taint .* in flavor (\S+)")


class NeverFitsError(Exception):
    """The server asks for more than its queue will ever have; the text says of what."""


def demand_of(pod: Json, queue: str, replicas: int = 1) -> Demand:
    """What Kueue counts for `replicas` such pods: of each its containers, or one init container if that is more."""
    spec = pod.get("spec") or {}
    main = [container_requests(container.get("resources") or {}) for container in spec.get("containers") or ()]
    init = [container_requests(container.get("resources") or {}) for container in spec.get("initContainers") or ()]
    names = {name for requests in (*main, *init) for name in requests}
    zero = Decimal(0)
    demand = {
        name: replicas
        * max(
            sum((requests.get(name, zero) for requests in main), zero),
            *(requests.get(name, zero) for requests in init),
            zero,
        )
        for name in names
    }
    return Demand(queue, str((spec.get("nodeSelector") or {}).get(LABEL_POOL) or ""), demand)


def pending_reason(demand: Demand, queues: Mapping[str, Json], kueue_message: str) -> str:
    """The sentence that says which quota is short and when the server starts.

    `kueue_message` is empty before Kueue has one. Raises NeverFitsError when waiting doesn't help.
    """
    choices_now = possible(demand, choices(demand, queues))
    named_by_kueue = {(match[1], match[2]) for match in _INSUFFICIENT.finditer(kueue_message)}
    if not named_by_kueue:
        _raise_if_never_fits(demand, queues, kueue_message)
    lacking = (
        _choices_named(choices_now, named_by_kueue) if named_by_kueue else _choices_without_room(choices_now, demand)
    )
    if lacking:
        lacking_text = "; and ".join(
            _lack_text(name, demand.requests[name], headrooms) for name, headrooms in lacking.items()
        )
        return f"Waits for quota: needs {lacking_text}; starts by itself when {_when_it_starts(list(lacking), demand)}."
    if "preemption" in kueue_message:
        return "Waits for quota: a workload with less priority is making room for it; starts by itself."
    return f"Waits for its turn in queue {demand.queue}; starts by itself."


def _choices_named(choices_now: Choices, named_by_kueue: set[tuple[str, str]]) -> dict[str, dict[str, Headroom]]:
    named = {
        name: {pool: headroom for pool, headroom in headrooms.items() if (name, pool) in named_by_kueue}
        for name, headrooms in choices_now.items()
    }
    return {name: headrooms for name, headrooms in named.items() if headrooms}


def _choices_without_room(choices_now: Choices, demand: Demand) -> dict[str, Mapping[str, Headroom]]:
    return {
        name: headrooms
        for name, headrooms in choices_now.items()
        if all(headroom.free < demand.requests[name] for headroom in headrooms.values())
    }


def _raise_if_never_fits(demand: Demand, queues: Mapping[str, Json], kueue_message: str) -> None:
    missing = _UNAVAILABLE.search(kueue_message)
    if missing:
        raise NeverFitsError(f"It asks for {resource_name(missing[1])}, and queue {demand.queue} has none to give.")
    if excess_text := excess(demand, queues):
        raise NeverFitsError(f"It can never start: it asks for {excess_text}.")
    if kueue_message and (_MISMATCH.search(kueue_message) or _NEVER.search(kueue_message)):
        where = f"pool {demand.pool}" if demand.pool else "any pool its flavor can use"
        raise NeverFitsError(f"It can never start: queue {demand.queue} hasn't enough quota in {where}.")


def _lack_text(resource: str, needed: Decimal, headrooms: Mapping[str, Headroom]) -> str:
    parts = [
        f"{number_text(resource, headroom.free)} of {number_text(resource, headroom.total)} "
        f"{'are ' if index == 0 else ''}free in pool {pool}"
        for index, (pool, headroom) in enumerate(list(headrooms.items())[:MAX_POOLS_SHOWN])
    ]
    more = f" and in {len(headrooms) - MAX_POOLS_SHOWN} more pools too few" if len(headrooms) > MAX_POOLS_SHOWN else ""
    return f"{amount_text(resource, needed)}, {', '.join(parts)}{more}"


def _when_it_starts(lacking: Sequence[str], demand: Demand) -> str:
    if list(lacking) == [GPU]:
        needed = demand.requests[GPU]
        return "one comes free" if needed == 1 else f"{number_text(GPU, needed)} come free"
    return "enough comes free"
