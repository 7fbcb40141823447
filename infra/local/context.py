"""Chooses the cluster that the local stack is deployed to.

Invariant: the local stack is deployed only to a cluster that is recognised as local, or to the embedded one.

Recognised means both: the context's name is one that k3d, kind or minikube give, and its server is a loopback
or private address reached without a proxy. A name alone proves nothing, an address alone could be a
company's cluster behind a VPN. The embedded cluster is recognised by its kubeconfig file, which is ours.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from devservers_core.client import kubeconfig
from devservers_core.errors import CommandError
from devservers_core.paths import Paths
from infra.errors import InfraError

EMBEDDED = "embedded"
"""What DEVSERVERS_CONTEXT is set to for the embedded cluster although a local context is current."""

_LOOPBACK_NAMES = ("localhost", "host.docker.internal", "kubernetes.docker.internal")
_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
)
_RECOGNISED = "k3d-*, kind-* or minikube on a loopback or private address"


class ContextError(InfraError):
    """No cluster can be chosen."""


@dataclass(frozen=True)
class Kubeconfig:
    """One kubeconfig file that was read: where it lies and what is in it."""

    path: Path
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Choice:
    """The cluster the local stack goes to.

    ``context`` is None for the embedded cluster: its kubeconfig has one context, and may not be there before
    the cluster was first started. ``reason`` says in plain words why this one.
    """

    kubeconfig: Path
    context: str | None
    reason: str

    @property
    def embedded(self) -> bool:
        """Whether it is the embedded cluster."""
        return self.context is None


def choose(
    env: Mapping[str, str],
    kubeconfigs: Sequence[Kubeconfig],
    embedded: Path,
    embedded_problem: str | None = None,
) -> Choice:
    """The cluster for these settings; pure.

    ``kubeconfigs`` in kubectl's order: the first that has a current context or defines a name wins.
    ``embedded`` is the embedded cluster's kubeconfig, ``embedded_problem`` why it can't run on this machine,
    None when it can.
    Raises :class:`ContextError`.
    """
    wanted = env.get("DEVSERVERS_CONTEXT", "")
    if wanted == EMBEDDED:
        return _embedded(embedded, embedded_problem, "DEVSERVERS_CONTEXT asks for it")
    if wanted:
        return _named(wanted, kubeconfigs)
    explicit = env.get("DEVSERVERS_KUBECONFIG", "")
    if explicit and Path(explicit).resolve() == embedded.resolve():
        return _embedded(embedded, embedded_problem, "DEVSERVERS_KUBECONFIG is its kubeconfig")
    current = next((str(name) for each in kubeconfigs if (name := each.content.get("current-context"))), None)
    if current is None:
        return _embedded(embedded, embedded_problem, "no kubeconfig has a current context")
    found = _find(current, kubeconfigs)
    problem = f"context {current} is in no kubeconfig" if found is None else _problem(current, found[1])
    if problem is None and found is not None:
        return Choice(found[0], current, f"the current context {current} is a local cluster")
    return _embedded(embedded, embedded_problem, f"the current context is not used: {problem}")


def _named(name: str, kubeconfigs: Sequence[Kubeconfig]) -> Choice:
    found = _find(name, kubeconfigs)
    if found is None:
        names = sorted({str(c.get("name")) for k in kubeconfigs for c in _entries(k.content, "contexts")})
        raise ContextError(
            f"DEVSERVERS_CONTEXT={name}: no kubeconfig has that context",
            f"use one of {', '.join(names) or '(there are none)'}, {EMBEDDED}, or leave it unset",
        )
    problem = _problem(name, found[1])
    if problem is not None:
        raise ContextError(
            f"DEVSERVERS_CONTEXT={name} is refused for the local stack: {problem}",
            f"use a context of {_RECOGNISED}, {EMBEDDED}, or leave it unset",
        )
    return Choice(found[0], name, f"DEVSERVERS_CONTEXT is {name}")


def _embedded(path: Path, problem: str | None, reason: str) -> Choice:
    if problem is not None:
        raise ContextError(
            f"no local cluster: {reason}, and the embedded cluster can't run here: {problem}",
            f"make {_RECOGNISED} the current context (k3d cluster create, kind create cluster), or fix that problem",
        )
    return Choice(path, None, f"the embedded cluster: {reason}")


def _entries(content: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = content.get(key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _find(name: str, kubeconfigs: Sequence[Kubeconfig]) -> tuple[Path, Mapping[str, Any]] | None:
    """The file that defines a context, and the cluster that the context names."""
    for each in kubeconfigs:
        for entry in _entries(each.content, "contexts"):
            if entry.get("name") != name:
                continue
            wanted = (entry.get("context") or {}).get("cluster")
            for other in kubeconfigs:
                for cluster in _entries(other.content, "clusters"):
                    if cluster.get("name") == wanted:
                        return each.path, cluster.get("cluster") or {}
            return each.path, {}
    return None


def _problem(name: str, cluster: Mapping[str, Any]) -> str | None:
    """Why a context doesn't count as local, None when it does."""
    if not (name == "minikube" or (name.startswith(("k3d-", "kind-")) and len(name) > 5)):
        return f"the name {name} is not one of k3d-*, kind-*, minikube"
    if cluster.get("proxy-url"):
        return "its server is reached through a proxy"
    server = str(cluster.get("server") or "")
    if not _is_local(server):
        return f"its server {server or '(none)'} is not a loopback or private address"
    return None


def _is_local(server: str) -> bool:
    try:
        host = urlsplit(server).hostname or ""
        if host in _LOOPBACK_NAMES:
            return True
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    # k3d writes 0.0.0.0, which connects to this machine.
    return mapped.is_unspecified or any(mapped in network for network in _NETWORKS)


def read(env: Mapping[str, str]) -> list[Kubeconfig]:
    """The kubeconfig files of an environment, in kubectl's order.

    Files that don't exist are left out.
    DEVSERVERS_KUBECONFIG, if set, stands alone; else KUBECONFIG, else ~/.kube/config.
    Raises :class:`ContextError` for a file that can't be read.
    """
    explicit = env.get("DEVSERVERS_KUBECONFIG", "")
    listed = explicit or env.get("KUBECONFIG", "")
    home = Path(env.get("HOME") or Path.home())
    paths = kubeconfig.files(listed) or [home / ".kube" / "config"]
    found = []
    for path in paths:
        try:
            if path.exists():
                found.append(Kubeconfig(path, kubeconfig.read(path)))
        except (CommandError, OSError) as error:
            raise ContextError(
                str(error), "correct the file, or point KUBECONFIG or DEVSERVERS_KUBECONFIG at another"
            ) from None
    return found


def choose_here(env: Mapping[str, str], embedded_problem: str | None = None) -> Choice:
    """:func:`choose` for an environment, reading its kubeconfigs."""
    return choose(env, read(env), Paths.of(env).kubeconfig, embedded_problem)
