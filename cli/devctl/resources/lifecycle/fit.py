"""Checks whether a server can have another flavor, or a larger home, before anything of it is stopped.

Invariant: read-only; what the user may not read is not checked and left to the cluster.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from devctl import validation
from devctl.resources import home
from devctl.resources.allowance import allowance
from devctl.resources.lifecycle.planned import is_stopped
from devctl.resources.queue import cluster_queues, of_replicas
from devctl.resources.replicas import replicas_of
from devctl.resources.volumes import classes
from devservers_core import kueue_quota, names
from devservers_core.errors import ApiError
from devservers_core.kueue_quota import Demand, flavor_demand

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


_ZONE_KEYS = frozenset({"topology.kubernetes.io/zone", "topology.ebs.csi.aws.com/zone"})
_ARCHITECTURE_KEY = "kubernetes.io/arch"


def check_flavor(context: Context, server: Json, flavor: Json, *, other_image: bool) -> None:
    """Raise CommandError (refused) when the server can't run with this flavor.

    `other_image` is whether its image changes too, and so may be for another architecture.
    """
    current = _flavor(context, str((server.get("spec") or {}).get("flavor")))
    if not other_image:
        _check_architecture(server, current, flavor)
    _check_zones(context, server, flavor)
    _check_quota(context, server, current, flavor)


def queue_cost(context: Context, server: Json, flavor: Json) -> str | None:
    """What is said before a change to a flavor with devices that are all taken; None where enough are free."""
    replicas = replicas_of(server)
    demand = of_replicas(flavor_demand(flavor.get("spec") or {}), replicas)
    if not demand.devices:
        return None
    room = kueue_quota.servers(demand, cluster_queues(context))
    if room is None or room[0] > 0:
        return None
    name = flavor["metadata"]["name"]
    taken = (
        f"nothing of flavor {name} is free"
        if replicas is None
        else f"flavor {name} has no room for {replicas} replicas"
    )
    return f"{taken} now: it waits in the queue {demand.queue} after that"


def check_home(context: Context, server: Json) -> None:
    """Raise CommandError (refused) when the class of the server's home can't grow volumes."""
    claim = home.home_claim(context, server["metadata"]["name"], replicas_of(server))
    storage_class = str(((claim or {}).get("spec") or {}).get("storageClassName") or "")
    item = (classes.storage_classes(context) or {}).get(storage_class)
    if claim and item is not None and not classes.can_grow(item):
        name = claim["metadata"]["name"]
        raise validation.refusal(
            f"the home {name} can't grow: its storage class {storage_class} does not expand volumes",
            "make another server with a larger --home-size, and copy the files",
        )


def architecture(flavor: Json) -> str | None:
    """The architecture of a flavor's machines; None where it isn't known."""
    annotations = (flavor.get("metadata") or {}).get("annotations") or {}
    selector = (flavor.get("spec") or {}).get("nodeSelector") or {}
    return annotations.get(names.ANNOTATION_ARCHITECTURE) or selector.get(_ARCHITECTURE_KEY)


def zones(flavor: Json) -> frozenset[str] | None:
    """The zones of a flavor's machines; None where they aren't known."""
    annotations = (flavor.get("metadata") or {}).get("annotations") or {}
    selector = (flavor.get("spec") or {}).get("nodeSelector") or {}
    listed = [zone.strip() for zone in str(annotations.get(names.ANNOTATION_ZONES) or "").split(",") if zone.strip()]
    selected = [str(value) for key, value in selector.items() if key in _ZONE_KEYS]
    return frozenset(selected or listed) or None


def volume_zones(volume: Json) -> frozenset[str] | None:
    """The zones from which a PersistentVolume can be mounted; None where any can."""
    required = (((volume.get("spec") or {}).get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms")
    zones: set[str] = set()
    for term in required or []:
        listed = [
            str(value)
            for expression in term.get("matchExpressions") or []
            if expression.get("key") in _ZONE_KEYS and expression.get("operator") == "In"
            for value in expression.get("values") or []
        ]
        if not listed:
            return None  # one of several terms is enough, and this one names no zone
        zones.update(listed)
    return frozenset(zones) or None


def _check_architecture(server: Json, current: Json, flavor: Json) -> None:
    before, after = architecture(current), architecture(flavor)
    if before and after and before != after:
        name = server["metadata"]["name"]
        raise validation.refusal(
            f"flavor {flavor['metadata']['name']} has {after} machines, and {name} runs on {before}:"
            " its image and the programs in its home would not run",
            f"take a flavor with {before} machines, or give an image for {after} with --image",
        )


def _check_zones(context: Context, server: Json, flavor: Json) -> None:
    from devservers_core.client.paths import core_path

    allowed = zones(flavor)
    if allowed is None:
        return
    for claim in home.claims_of(server):
        try:
            claim_object = context.kube.get(core_path(context.namespace, "persistentvolumeclaims", claim))
            volume = str((claim_object.get("spec") or {}).get("volumeName") or "")
            lies_in = volume_zones(context.kube.get(f"/api/v1/persistentvolumes/{volume}")) if volume else None
        except ApiError:
            continue
        if lies_in is not None and not lies_in & allowed:
            flavor_name = flavor["metadata"]["name"]
            raise validation.refusal(
                f"the volume {claim} lies in zone {', '.join(sorted(lies_in))}, and flavor {flavor_name} has machines"
                f" in {', '.join(sorted(allowed))} only",
                "take a flavor with machines in that zone (`devctl flavors -o wide`), or ask an administrator to move"
                " the volume by a snapshot",
            )


def _check_quota(context: Context, server: Json, current: Json, flavor: Json) -> None:
    own = allowance(context)
    replicas = replicas_of(server)
    new = _needs(of_replicas(flavor_demand(flavor.get("spec") or {}), replicas))
    before = of_replicas(flavor_demand(current.get("spec") or {}), replicas)
    given_back = {} if is_stopped(server) else _needs(before)
    for key, need in new.items():
        hard = own.hard.get(key)
        if hard is None:
            continue
        # A stopped server takes nothing now: only what could never start is refused.
        taken = Decimal(0) if is_stopped(server) else own.used.get(key, Decimal(0)) - given_back.get(key, Decimal(0))
        if max(taken, Decimal(0)) + need > hard:
            resource = key.removeprefix("requests.")
            of, ask = (f"{replicas} replicas of ", "ask") if replicas is not None else ("", "asks")
            left = kueue_quota.amount_text(resource, max(hard - max(taken, Decimal(0)), Decimal(0)))
            raise validation.refusal(
                f"{of}flavor {flavor['metadata']['name']} {ask} for {kueue_quota.amount_text(resource, need)},"
                f" and your quota has {left} left for it",
                "stop another server (`devctl list`), take a smaller flavor, or ask an administrator",
            )


def _needs(demand: Demand) -> dict[str, Decimal]:
    """What a server takes of a ResourceQuota, by the quota's keys."""
    needs = {f"requests.{name}": amount for name, amount in demand.requests.items() if amount}
    return needs | {name: amount for name, amount in demand.requests.items() if amount}


def _flavor(context: Context, name: str) -> Json:
    from devservers_core.client.paths import flavor_path

    try:
        return context.kube.get(flavor_path(name))
    except ApiError:
        return {}
