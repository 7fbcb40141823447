"""The replicas of a distributed server: how many, which pod, what was asked for on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devctl import validation
from devservers_core.errors import NOT_FOUND, USAGE, CommandError
from devservers_core.grammar import fits
from devservers_core.replicas import (
    BACKENDS,
    DISTRIBUTED,
    GLOO,
    MAX_NAME,
    MAX_NCCL_NAME,
    MAX_PROCESSES,
    MAX_REPLICAS,
    MIN_REPLICAS,
    NCCL,
    NCCL_NAME,
    REPLICAS_SUFFIX,
    is_replica_home,
    replica_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from devservers_core.types import Json


def replicas_of(server: Json) -> int | None:
    """How many replicas a distributed server has, None of another one."""
    spec = server.get("spec") or {}
    if spec.get("mode") != DISTRIBUTED:
        return None
    return int((spec.get("distributed") or {}).get("replicas") or 0)


def check_replica(server: Json, number: int) -> None:
    """Raise CommandError for a replica that a server doesn't have."""
    name, replicas = server["metadata"]["name"], replicas_of(server)
    if replicas is None and number:
        raise CommandError(
            f"{name} is one machine: it has replica 0 only", f"leave --replica out, or write --replica 0 for {name}",
            NOT_FOUND,
        )  # fmt: skip
    if replicas is not None and number >= replicas:
        raise CommandError(
            f"{name} has no replica {number}: it has {replicas}", f"take one from 0 to {replicas - 1}", NOT_FOUND
        )


def pod_of(server: Json, number: int) -> str:
    """The pod of a replica."""
    return replica_name(server["metadata"]["name"], number)


def create_command(name: str, flavor: str | None, replicas: int | None) -> str:
    """The command that makes a server and uses its kept homes: of a distributed one if `replicas` isn't None.

    0 replicas stand for a number that isn't known.
    """
    if replicas is None:
        return f"devctl create {name}" + (f" {flavor}" if flavor else "")
    return f"devctl create {name} {flavor or 'FLAVOR'} --distributed --replicas {replicas or 'N'}"


def create_command_of(server: Json) -> str:
    """The command that makes this server again once it is deleted."""
    name, replicas = server["metadata"]["name"], replicas_of(server)
    return create_command(name, None if replicas is None else str(server["spec"].get("flavor")), replicas)


def replicas_by_homes(server: str, homes: Iterable[str]) -> int | None:
    """How many replicas a deleted server had, by the names of its kept homes; None of a standalone one."""
    numbers = [int(home.rpartition("-")[2]) for home in homes if is_replica_home(home, server)]
    return max(MIN_REPLICAS, max(numbers) + 1) if numbers else None


def summary(server: Json) -> str | None:
    """The line of `devctl describe` about replicas; None of a server that has none."""
    replicas, status = replicas_of(server), server.get("status") or {}
    if replicas is None:
        return None
    asked = (server.get("spec") or {}).get("distributed") or {}
    processes = asked.get("nprocsPerNode")
    each = f", {processes} process{'es' if processes > 1 else ''} in each" if processes else ""
    backend = f", backend {asked['backend']}" if asked.get("backend") else ""
    ready = f"{status['ready']} ready" if status.get("ready") else f"{replicas}, stopped"
    return ready + each + backend


def parse_distributed(
    name: str,
    *,
    distributed: bool,
    replicas: int | None,
    processes: int | None,
    backend: str | None,
    settings: list[str],
    ssh: bool,
) -> Json | None:
    """spec.distributed by the options of `devctl create`, None without --distributed. Raises CommandError."""
    if not distributed:
        given = {"--replicas": replicas, "--nprocs-per-node": processes, "--backend": backend, "--nccl": settings}
        if flag := next((flag for flag, value in given.items() if value not in (None, [])), None):
            raise CommandError(f"{flag} is for distributed servers only", "add --distributed, or leave it out", USAGE)
        if name.endswith(REPLICAS_SUFFIX):
            raise validation.refusal(
                f"names that end in {REPLICAS_SUFFIX} are those of distributed servers' Services", "take another name"
            )
        return None
    if replicas is None:
        raise CommandError("a distributed server needs a number of replicas", "add --replicas 2", USAGE)
    if not MIN_REPLICAS <= replicas <= MAX_REPLICAS:
        raise validation.refusal(
            f"--replicas {replicas} is not possible", f"take {MIN_REPLICAS} to {MAX_REPLICAS} of them"
        )
    if len(name) > MAX_NAME or name.endswith(REPLICAS_SUFFIX):
        raise validation.refusal(
            f"the name {name!r} is not possible for a distributed server",
            f"take one of at most {MAX_NAME} characters that does not end in {REPLICAS_SUFFIX}",
        )
    if not ssh:
        raise CommandError("--no-ssh and --distributed exclude each other", "replicas reach each other by SSH", USAGE)
    if processes is not None and not 1 <= processes <= MAX_PROCESSES:
        raise validation.refusal(f"--nprocs-per-node {processes} is not possible", f"take 1 to {MAX_PROCESSES}")
    if backend is not None and backend not in BACKENDS:
        raise validation.refusal(f"there is no backend {backend!r}", f"take {' or '.join(BACKENDS)}")
    spec: Json = {"replicas": replicas}
    spec |= {"nprocsPerNode": processes} if processes is not None else {}
    spec |= {"backend": backend} if backend is not None else {}
    variables = _settings(settings)
    return spec | ({"ncclSettings": variables} if variables else {})


def backend_warning(distributed: Json | None, flavor: Json) -> str | None:
    """The warning about nccl, or settings of it, where processes talk by gloo; None when there is nothing to say."""
    from devservers_core import names
    from devservers_core.kueue_quota import flavor_demand

    if distributed is None:
        return None
    if flavor_demand(flavor.get("spec") or {}).requests.get(names.GPU):
        if distributed.get("backend") != GLOO or not distributed.get("ncclSettings"):
            return None
        return "its processes talk by gloo, and NCCL's settings do nothing: leave --nccl out, or take --backend nccl"
    if distributed.get("backend") != NCCL and not distributed.get("ncclSettings"):
        return None
    return (
        f"flavor {flavor['metadata']['name']} has no GPUs: its processes talk by gloo, and NCCL's settings do nothing"
    )


def _settings(pairs: list[str]) -> dict[str, str]:
    variables: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not fits(key, NCCL_NAME, MAX_NCCL_NAME):
            raise validation.refusal(
                f"--nccl {pair[:80]!r} is no setting of NCCL", "write one like --nccl NCCL_DEBUG=INFO"
            )
        if key in variables:
            raise validation.refusal(f"--nccl {key} is given twice", "give it once")
        variables[key] = value
    return variables
