"""What the platform itself asks of a small machine."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

from devservers_core.quantity import parse_quantity
from infra.preview.simulation import Simulation, simulate
from infra.preview.stackfile import read
from tests.support.infra.simulated import simulated

CPUS, MEMORY = Decimal("0.6"), Decimal(2 * 2**30)
"""The most, so that six small servers and a medium one fit beside it on 2 CPUs and 8 GiB."""


def asked(simulation: Simulation) -> tuple[Decimal, Decimal]:
    """CPUs and bytes of memory that the pods of a local platform ask for, placeholders left out."""
    cpu, memory = Decimal(0), Decimal(0)
    for each in simulation.graph.objects():
        if each["kind"] not in ("Deployment", "DaemonSet", "StatefulSet"):
            continue
        pod = each["spec"]["template"]["spec"]
        if pod.get("priorityClassName") == "devservers-headroom":
            continue
        for container in pod["containers"]:
            requests, replicas = container["resources"]["requests"], int(each["spec"].get("replicas", 1))
            cpu += replicas * parse_quantity(requests["cpu"])
            memory += replicas * parse_quantity(requests["memory"])
    kueue: dict[str, Any] = simulation.graph.one("Release").inputs["values"]["controllerManager"]
    requests, replicas = kueue["manager"]["resources"]["requests"], int(kueue["replicas"])
    return cpu + replicas * parse_quantity(requests["cpu"]), memory + replicas * parse_quantity(requests["memory"])


def test_platform_on_a_local_cluster_asks_for_little() -> None:
    cpu, memory = asked(simulated("local"))
    assert Decimal("0.1") < cpu < CPUS
    assert Decimal(2**29) < memory < MEMORY


def test_platform_with_fast_starts_asks_for_little() -> None:
    """Placeholders give way to servers, and what pulls images ahead asks for next to nothing."""
    file = read("local")
    wanted = {"prePull": [{"image": "ghcr.io/team/cuda:12.4"}], "headroom": [{"pool": "local", "servers": 2}]}
    cpu, memory = asked(simulate(replace(file, config=file.config | {"fastStarts": json.dumps(wanted)})))
    plain = asked(simulated("local"))
    assert plain[0] < cpu < CPUS
    assert plain[1] < memory < MEMORY
