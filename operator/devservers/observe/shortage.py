"""What a server waits for, in numbers rounded so that they change only when it matters to who waits.

Kueue's text names the pools and resources it looked at in vain; the numbers are those of the ClusterQueues.
Its texts (v0.18): pkg/scheduler/flavorassigner/flavorassigner.go, pkg/scheduler/scheduler.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_UP, Decimal

from devservers.api.flavor import DevServerFlavor
from devservers_core.names import GPU, LABEL_POOL
from devservers_core.types import Json

from .quota import Room, amount, choices, possible

_SHORT = re.compile(r"insufficient unused quota for (\S+) in flavor ([^\s,;]+)")
_NEVER = re.compile(r"insufficient quota for (\S+) in flavor ([^\s,;]+), previously")
_UNAVAILABLE = re.compile(r"resource (\S+) unavailable in ClusterQueue")
_MISMATCH = re.compile(r"flavor (\S+) doesn't match node affinity|untolerated taint .* in flavor (\S+)")
_GIB, _MIB = Decimal(2**30), Decimal(2**20)
_SHOWN = 3

Rooms = Mapping[str, Mapping[str, Room]]


class NeverFits(Exception):
    """It asks for more than its queue will ever have; the text says of what, in one or two sentences."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a pod asks of its queue."""

    requests: Mapping[str, Decimal]
    pool: str = ""
    """The pool its node selector names, empty for any."""

    @classmethod
    def of(cls, pod: Json) -> Demand:
        """What Kueue counts for a pod: its containers together, or one init container if that asks for more."""
        spec = pod.get("spec") or {}
        main = [_requests(each) for each in spec.get("containers") or ()]
        init = [_requests(each) for each in spec.get("initContainers") or ()]
        names = {name for each in (*main, *init) for name in each}
        none = Decimal(0)
        requests = {
            name: max(
                sum((each.get(name, none) for each in main), none), *(each.get(name, none) for each in init), none
            )
            for name in names
        }
        return cls(requests, str((spec.get("nodeSelector") or {}).get(LABEL_POOL) or ""))

    @classmethod
    def of_flavor(cls, flavor: DevServerFlavor) -> Demand:
        """What a server of that flavor will ask for."""
        spec = flavor.spec
        wanted = spec.resources.limits | spec.resources.requests
        requests = {name: amount(value) for name, value in wanted.items()}
        return cls(requests, spec.node_selector.get(LABEL_POOL, ""))


def fits_ever(demand: Demand, queue: str, queues: Mapping[str, Json]) -> bool:
    """Whether the queue's whole quota is enough for all that is asked of it, by its numbers alone."""
    rooms = choices(demand.requests, demand.pool, queue, queues)
    return all(possible(demand.requests, rooms).values())


def shortage(demand: Demand, queue: str, queues: Mapping[str, Json], told: str) -> str:
    """What is short now, with the words on when it starts. `told` is Kueue's text, empty before there is one.

    Raises NeverFits when no waiting helps.
    """
    rooms = choices(demand.requests, demand.pool, queue, queues)
    could = possible(demand.requests, rooms)
    named = {(found[1], found[2]) for found in _SHORT.finditer(told)}
    if not named:
        _refuse_what_never_fits(demand, queue, rooms, could, told)
    short = _named(could, named) if named else _by_numbers(could, demand)
    if short:
        lacks = "; and ".join(_lack(name, demand.requests[name], each) for name, each in short.items())
        return f"Waits for quota: needs {lacks}; starts by itself when {_enough(list(short), demand)}."
    if "preemption" in told:
        return "Waits for quota: a workload with less priority is making room for it; starts by itself."
    return f"Waits for its turn in queue {queue}; starts by itself."


def _named(could: Rooms, named: set[tuple[str, str]]) -> dict[str, dict[str, Room]]:
    found = {name: {pool: room for pool, room in each.items() if (name, pool) in named} for name, each in could.items()}
    return {name: each for name, each in found.items() if each}


def _by_numbers(could: Rooms, demand: Demand) -> dict[str, Mapping[str, Room]]:
    return {name: each for name, each in could.items() if all(r.free < demand.requests[name] for r in each.values())}


def _refuse_what_never_fits(demand: Demand, queue: str, rooms: Rooms, could: Rooms, told: str) -> None:
    missing = _UNAVAILABLE.search(told)
    if missing:
        raise NeverFits(f"It asks for {_name(missing[1])}, and queue {queue} has none to give.")
    impossible = [name for name, each in could.items() if not each]
    if impossible:
        alone = [
            name for name in impossible if all(room.total < demand.requests[name] for room in rooms[name].values())
        ]
        asked = "; and ".join(
            f"{_amount(name, demand.requests[name])}, and the whole quota is {_totals(name, rooms[name])}"
            for name in alone or impossible
        )
        raise NeverFits(f"It can never start: it asks for {asked}.")
    if told and (_MISMATCH.search(told) or _NEVER.search(told)):
        where = f"pool {demand.pool}" if demand.pool else "any pool its flavor can use"
        raise NeverFits(f"It can never start: queue {queue} hasn't enough quota in {where}.")


def _lack(resource: str, needed: Decimal, rooms: Mapping[str, Room]) -> str:
    places = [
        f"{_number(resource, each.free)} of {_number(resource, each.total)} {'are ' if index == 0 else ''}free "
        f"in pool {pool}"
        for index, (pool, each) in enumerate(list(rooms.items())[:_SHOWN])
    ]
    more = f" and in {len(rooms) - _SHOWN} more pools too few" if len(rooms) > _SHOWN else ""
    return f"{_amount(resource, needed)}, {', '.join(places)}{more}"


def _totals(resource: str, rooms: Mapping[str, Room]) -> str:
    best = sorted(rooms.items(), key=lambda item: -item[1].total)[:_SHOWN]
    return ", ".join(f"{_number(resource, each.total)} in pool {pool}" for pool, each in best)


def _enough(short: Sequence[str], demand: Demand) -> str:
    if list(short) == [GPU]:
        needed = demand.requests[GPU]
        return "one comes free" if needed == 1 else f"{_number(GPU, needed)} come free"
    return "enough comes free"


def _amount(resource: str, value: Decimal) -> str:
    text = _number(resource, value, ROUND_UP)
    if resource == GPU:
        return f"{text} {'GPU' if value == 1 else 'GPUs'}"
    return f"{text} {_name(resource)}"


def _name(resource: str) -> str:
    return {GPU: "GPUs", "cpu": "CPU"}.get(resource, resource)


def _number(resource: str, value: Decimal, rounding: str = ROUND_DOWN) -> str:
    """Coarse on purpose: tenths of a CPU, whole Gi (Mi below one), whole devices."""
    if resource == "cpu":
        return f"{value.quantize(Decimal('0.1'), rounding).normalize():f}"
    if resource in ("memory", "ephemeral-storage"):
        unit, suffix = (_GIB, "Gi") if value >= _GIB else (_MIB, "Mi")
        return f"{(value / unit).to_integral_value(rounding):f}{suffix}" if value else "0"
    return f"{value.to_integral_value(rounding):f}"


def _requests(container: Json) -> dict[str, Decimal]:
    declared = container.get("resources") or {}
    wanted = (declared.get("limits") or {}) | (declared.get("requests") or {})
    return {str(name): amount(value) for name, value in wanted.items()}
