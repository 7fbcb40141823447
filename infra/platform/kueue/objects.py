"""Kueue's queues, ResourceFlavors and priorities, built from pools.

Invariant: the queues give out what the pools have, all of it and nothing twice.

Pure: Kueue's objects (kueue.x-k8s.io/v1beta2) from pools. A server reclaims what training borrowed, at once and
whatever its priority; training never takes a server's, not even its own share while it is lent: a person works there.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from devservers_core.names import (
    COHORT,
    INTERACTIVE,
    KUEUE_API_VERSION,
    PRIORITIES,
    PRIORITY_BATCH,
    PRIORITY_INTERACTIVE,
    PRIORITY_TRAINING,
    TRAINING,
)
from devservers_core.quantity import canonical, parse_quantity
from devservers_core.types import Json
from infra.platform.kueue.installation import USERS_ONLY
from infra.platform.pools import Pool

_PRIORITY_DESCRIPTIONS = {
    PRIORITY_INTERACTIVE: "Development servers: somebody works there.",
    PRIORITY_TRAINING: "Training that somebody waits for.",
    PRIORITY_BATCH: "Whatever may take until tomorrow.",
}
_PREEMPTION = {
    INTERACTIVE: {"reclaimWithinCohort": "Any", "withinClusterQueue": "LowerPriority"},
    TRAINING: {"reclaimWithinCohort": "Never", "withinClusterQueue": "LowerPriority"},
}


def priority_classes() -> list[Json]:
    """WorkloadPriorityClasses, the first to go first."""
    return [
        _manifest("WorkloadPriorityClass", name, {"value": value, "description": _PRIORITY_DESCRIPTIONS[name]})
        for name, value in PRIORITIES.items()
    ]


def resource_flavors(pools: Sequence[Pool]) -> list[Json]:
    """ResourceFlavors, one for each pool, selecting its nodes by labels."""
    found = []
    for pool in pools:
        spec = {"nodeLabels": pool.labels(), "nodeTaints": pool.taints()}
        found.append(_manifest("ResourceFlavor", pool.name, {"spec": {k: v for k, v in spec.items() if v}}))
    return found


def cluster_queues(pools: Sequence[Pool], interactive_share: int) -> list[Json]:
    """ClusterQueues: `interactive` owns a part of each pool, `training` the rest.

    Each may borrow all of it.
    """
    return [
        _manifest(
            "ClusterQueue",
            name,
            {
                "spec": {
                    "cohortName": COHORT,
                    # A large server that can't start yet keeps no small one waiting.
                    "queueingStrategy": "BestEffortFIFO",
                    "namespaceSelector": USERS_ONLY,
                    "preemption": _PREEMPTION[name],
                    "resourceGroups": [_group(members, name, interactive_share) for members in _groups(pools)],
                }
            },
        )
        for name in (INTERACTIVE, TRAINING)
    ]


def _group(pools: Sequence[Pool], queue: str, share: int) -> Json:
    """A resource group: each flavor has a quota (maybe 0) of each resource."""
    covered = list(dict.fromkeys(resource for pool in pools for resource in _resources(pool)))
    return {
        "coveredResources": covered,
        "flavors": [
            {
                "name": pool.name,
                "resources": [
                    {
                        "name": resource,
                        "nominalQuota": _nominal_quota(_resources(pool).get(resource, "0"), queue, share),
                    }
                    for resource in covered
                ],
            }
            for pool in pools
        ],
    }


def _groups(pools: Sequence[Pool]) -> list[list[Pool]]:
    """Pools by resource group: those that share a resource are in one group."""
    groups: list[list[Pool]] = []
    for pool in (each for each in pools if _resources(each)):
        mine = {*_resources(pool)}
        near = [group for group in groups if any(mine & {*_resources(each)} for each in group)]
        merged = [each for group in near for each in group] + [pool]
        # In the order of the pools: Kueue tries flavors from the first to the last.
        groups = [group for group in groups if group not in near] + [sorted(merged, key=pools.index)]
    return sorted(groups, key=lambda group: pools.index(group[0]))


def _resources(pool: Pool) -> dict[str, str]:
    """What a pool has any of."""
    return {resource: amount for resource, amount in pool.quota().items() if parse_quantity(amount)}


def _nominal_quota(amount: str, queue: str, share: int) -> str:
    """A queue's part of an amount, in whole units; both parts make the whole."""
    number = "".join(character for character in amount if character.isdigit())
    unit = amount.removeprefix(number)
    interactive = int(Decimal(number) * share / 100)
    part = interactive if queue == INTERACTIVE else int(number) - interactive
    return canonical(f"{part}{unit}")


def _manifest(kind: str, name: str, body: Json) -> Json:
    labels = {"app.kubernetes.io/part-of": "devservers"}
    return {"apiVersion": KUEUE_API_VERSION, "kind": kind, "metadata": {"name": name, "labels": labels}, **body}
