"""What a server waits for, in numbers rounded so that they change only when it matters to who waits.

Kueue's text names the pools and resources it looked at in vain; the numbers are those of the ClusterQueues.
Its texts (v0.18): pkg/scheduler/flavorassigner/flavorassigner.go, pkg/scheduler/scheduler.go.
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

_SHORT = re.compile(r"insufficient unused quota for (\S+) in flavor ([^\s,;]+)")
_NEVER = re.compile(r"insufficient quota for (\S+) in flavor ([^\s,;]+), previously")
_UNAVAILABLE = re.compile(r"resource (\S+) unavailable in ClusterQueue")
_MISMATCH = re.compile(r"flavor (\S+) doesn't match node affinity|untolerated taint .* in flavor (\S+)")


class NeverFits(Exception):
    """It asks for more than its queue will ever have; the text says of what, in one or two sentences."""


def demand_of(pod: Json, queue: str) -> Demand:
    """What Kueue counts for a pod: its containers together, or one init container if that asks for more."""
    spec = pod.get("spec") or {}
    main = [container_requests(each.get("resources") or {}) for each in spec.get("containers") or ()]
    init = [container_requests(each.get("resources") or {}) for each in spec.get("initContainers") or ()]
    names = {name for each in (*main, *init) for name in each}
    none = Decimal(0)
    requests = {
        name: max(sum((each.get(name, none) for each in main), none), *(each.get(name, none) for each in init), none)
        for name in names
    }
    return Demand(queue, str((spec.get("nodeSelector") or {}).get(LABEL_POOL) or ""), requests)


def shortage(demand: Demand, queues: Mapping[str, Json], told: str) -> str:
    """What is short now, with the words on when it starts. `told` is Kueue's text, empty before there is one.

    Raises NeverFits when no waiting helps.
    """
    could = possible(demand, choices(demand, queues))
    named = {(found[1], found[2]) for found in _SHORT.finditer(told)}
    if not named:
        _refuse_what_never_fits(demand, queues, told)
    short = _named(could, named) if named else _by_numbers(could, demand)
    if short:
        lacks = "; and ".join(_lack(name, demand.requests[name], each) for name, each in short.items())
        return f"Waits for quota: needs {lacks}; starts by itself when {_enough(list(short), demand)}."
    if "preemption" in told:
        return "Waits for quota: a workload with less priority is making room for it; starts by itself."
    return f"Waits for its turn in queue {demand.queue}; starts by itself."


def _named(could: Choices, named: set[tuple[str, str]]) -> dict[str, dict[str, Headroom]]:
    found = {name: {pool: room for pool, room in each.items() if (name, pool) in named} for name, each in could.items()}
    return {name: each for name, each in found.items() if each}


def _by_numbers(could: Choices, demand: Demand) -> dict[str, Mapping[str, Headroom]]:
    return {name: each for name, each in could.items() if all(r.free < demand.requests[name] for r in each.values())}


def _refuse_what_never_fits(demand: Demand, queues: Mapping[str, Json], told: str) -> None:
    missing = _UNAVAILABLE.search(told)
    if missing:
        raise NeverFits(f"It asks for {resource_name(missing[1])}, and queue {demand.queue} has none to give.")
    if asked := excess(demand, queues):
        raise NeverFits(f"It can never start: it asks for {asked}.")
    if told and (_MISMATCH.search(told) or _NEVER.search(told)):
        where = f"pool {demand.pool}" if demand.pool else "any pool its flavor can use"
        raise NeverFits(f"It can never start: queue {demand.queue} hasn't enough quota in {where}.")


def _lack(resource: str, needed: Decimal, rooms: Mapping[str, Headroom]) -> str:
    places = [
        f"{number_text(resource, each.free)} of {number_text(resource, each.total)} {'are ' if index == 0 else ''}free "
        f"in pool {pool}"
        for index, (pool, each) in enumerate(list(rooms.items())[:MAX_POOLS_SHOWN])
    ]
    more = f" and in {len(rooms) - MAX_POOLS_SHOWN} more pools too few" if len(rooms) > MAX_POOLS_SHOWN else ""
    return f"{amount_text(resource, needed)}, {', '.join(places)}{more}"


def _enough(short: Sequence[str], demand: Demand) -> str:
    if list(short) == [GPU]:
        needed = demand.requests[GPU]
        return "one comes free" if needed == 1 else f"{number_text(GPU, needed)} come free"
    return "enough comes free"
