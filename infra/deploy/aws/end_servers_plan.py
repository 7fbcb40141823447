"""Plans how users' disks are kept and what they run is ended: the kubectl commands, in order.

Invariant: users' work is ended while the operator that knows it still runs, and no home goes with it.

Pure: from what the cluster holds to the commands, in order. Homes are kept twice over: claims are not deleted, and
their volumes are set to stay when a claim goes (Retain) before anything else is done.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from devservers_core.names import GROUP, LABEL_USER
from devservers_core.types import Json

KINDS = (f"devservers.{GROUP}",)
"""Our kinds of which users create objects, as names of resources; deleted first."""
WORKLOADS = ("deployments.apps", "statefulsets.apps", "jobs.batch", "pods")
"""What may run beside them in a user's namespace."""
WAIT_SECONDS = 600
RETAIN = json.dumps({"spec": {"persistentVolumeReclaimPolicy": "Retain"}})


@dataclass(frozen=True)
class UserClaim:
    """A volume claim of a user, home or not, and the disk bound to it.

    ``handle`` is the disk's id at the provisioner, "" when none is bound.
    """

    namespace: str
    claim: str
    volume: str = ""
    handle: str = ""
    size: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.claim}" + (f" ({self.size}, {self.handle})" if self.handle else "")


@dataclass(frozen=True)
class ClusterObjects:
    """The objects of a cluster that the plan is made from, as `kubectl get -o json` lists them."""

    namespaces: Sequence[Json] = ()
    claims: Sequence[Json] = ()
    volumes: Sequence[Json] = ()
    services: Sequence[Json] = ()
    kinds: Sequence[str] = ()
    """Which of :data:`KINDS` the cluster knows."""

    def users(self) -> list[str]:
        """Namespaces of users, sorted."""
        metadata = (each["metadata"] for each in self.namespaces)
        return sorted(str(meta["name"]) for meta in metadata if LABEL_USER in (meta.get("labels") or {}))

    def user_claims(self) -> list[UserClaim]:
        """Every claim in a user's namespace."""
        users, volumes = set(self.users()), {each["metadata"]["name"]: each for each in self.volumes}
        claims = []
        for claim in self.claims:
            meta, spec = claim["metadata"], claim.get("spec") or {}
            if meta["namespace"] in users:
                # A claim may name a volume that is gone; there is no disk to keep then.
                volume = spec.get("volumeName") if spec.get("volumeName") in volumes else ""
                about = (volumes.get(volume) or {}).get("spec") or {}
                size = str((spec.get("resources") or {}).get("requests", {}).get("storage", ""))
                handle = str((about.get("csi") or {}).get("volumeHandle", ""))
                claims.append(UserClaim(str(meta["namespace"]), str(meta["name"]), str(volume), handle, size))
        return sorted(claims, key=lambda claim: (claim.namespace, claim.claim))


@dataclass(frozen=True)
class Command:
    """One step: what it is for, in plain words, and kubectl's arguments."""

    what: str
    arguments: tuple[str, ...]


def first_steps(objects: ClusterObjects, seconds: int = WAIT_SECONDS) -> list[Command]:
    """The steps that keep disks and end servers and load balancers, in order; `sweep` is the rest of the plan.

    Each is done again without harm.
    """
    return list(_first_steps(objects, seconds))


def _first_steps(objects: ClusterObjects, seconds: int) -> Iterator[Command]:
    for claim in objects.user_claims():
        if claim.volume:
            patch = ("patch", "persistentvolume", claim.volume, "--type", "merge", "--patch", RETAIN)
            yield Command(f"keep the disk of {claim.namespace}/{claim.claim}", patch)
    for kind in [kind for kind in KINDS if kind in objects.kinds]:
        # Ours alone, so one command for all: an environment has hundreds of users.
        yield _delete(f"everybody's {kind.partition('.')[0]}", kind, ("--all-namespaces",), seconds)
    for service in objects.services:
        meta = service["metadata"]
        if (service.get("spec") or {}).get("type") == "LoadBalancer":
            # Pulumi doesn't know its load balancer: while that exists, AWS refuses to delete the network.
            name, namespace = str(meta["name"]), str(meta["namespace"])
            wait = f"--timeout={seconds}s"
            arguments = ("delete", "service", name, "--namespace", namespace, "--ignore-not-found", "--wait", wait)
            yield Command(f"take down the load balancer of service {namespace}/{name}", arguments)


def sweep(objects: ClusterObjects, running: Mapping[str, Sequence[Json]], seconds: int = WAIT_SECONDS) -> list[Command]:
    """The steps that end what still runs after the first ones; ``running`` is by :data:`WORKLOADS`."""
    users = set(objects.users())
    steps = []
    for kind in WORKLOADS:
        for namespace in sorted(users & {str(each["metadata"]["namespace"]) for each in running.get(kind, ())}):
            what = f"{kind.partition('.')[0]} in {namespace}"
            # Dependents are deleted first: a ReplicaSet that waits for garbage collection would create another pod.
            where = ("--namespace", namespace, "--cascade=foreground")
            steps.append(_delete(what, kind, where, seconds))
    return steps


def _delete(what: str, kind: str, where: tuple[str, ...], seconds: int) -> Command:
    wait = ("--wait=true", f"--timeout={seconds}s", "--ignore-not-found")
    return Command(f"end {what}", ("delete", kind, "--all", *where, *wait))
