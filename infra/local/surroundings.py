"""The networks around a cluster on this machine: what its servers must not reach, and where they ask for names.

`make up` looks at the cluster and hands the result to the Pulumi program in one variable, as it does with what the
cluster can give (infra/local/capacity.py).
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from infra.local.components import POD_CIDR, SERVICE_CIDR, Site
from infra.problems import Problem, SettingsError
from infra.settings import Settings

VARIABLE = "DEVSERVERS_LOCAL_NETWORK"
_ADDRESSES = ("InternalIP", "ExternalIP")


@dataclass(frozen=True)
class Surroundings:
    """Networks in CIDR notation."""

    closed: tuple[str, ...] = ()
    """Nodes with the pods on them, the API server, and the machine's end of the embedded node's cable."""
    dns: tuple[str, ...] = ()
    """Name servers that are no pods: the embedded node."""
    machine: tuple[str, ...] = ()
    """Where everybody at this machine seems to come from, to the embedded cluster's bastion."""

    def __str__(self) -> str:
        """As the variable's value."""
        return json.dumps({name: found for name, found in asdict(self).items() if found})

    def around(self, settings: Settings) -> Settings:
        """The settings of a stack with these: what it says itself stays, and is added to."""
        egress = settings.egress.model_copy(
            update={
                "deny": _merged(settings.egress.deny, self.closed),
                "dns": _merged(settings.egress.dns, self.dns),
            }
        )
        exempt = _merged(settings.bastion.exempt, self.machine)
        bastion = settings.bastion.model_copy(update={"exempt": exempt})
        return settings.model_copy(update={"egress": egress, "bastion": bastion})


def measured(
    nodes: Iterable[Mapping[str, Any]],
    services: Iterable[Mapping[str, Any]],
    slices: Iterable[Mapping[str, Any]],
    site: Site | None = None,
) -> Surroundings:
    """What is around a cluster, from what `kubectl get` lists; ``services`` and ``slices`` (EndpointSlices) are those
    of the API server, ``site`` is the embedded cluster's. Pure.
    """
    closed: list[str] = []
    for node in nodes:
        addresses = node.get("status", {}).get("addresses") or []
        closed += [_one(each["address"]) for each in addresses if each["type"] in _ADDRESSES]
        closed += node["spec"].get("podCIDRs") or [node["spec"].get("podCIDR") or ""]
    for service in services:
        closed += [_one(each) for each in service["spec"].get("clusterIPs") or [service["spec"].get("clusterIP", "")]]
    for each in slices:
        closed += [_one(address) for endpoint in each.get("endpoints") or () for address in endpoint["addresses"]]
    if site is None:
        return Surroundings(_networks(closed))
    cable = str(ipaddress.IPv4Network(f"{site.gateway}/30", strict=False))
    # Its pods' addresses come from the CNI plugin's own range, so its node has no podCIDR.
    return Surroundings(_networks([*closed, POD_CIDR, SERVICE_CIDR, cable]), (_one(site.address),), (cable,))


def read(env: Mapping[str, str]) -> Surroundings:
    """What the variable says. Raises :class:`SettingsError` when it is unset or says something else."""
    text = env.get(VARIABLE, "")
    try:
        values = {name: tuple(found) for name, found in json.loads(text).items()}
        found = Surroundings(**values)
        for network in (*found.closed, *found.dns, *found.machine):
            ipaddress.ip_network(network)
        if not found.closed:
            raise ValueError
    except (ValueError, TypeError, AttributeError):
        reason = 'not the networks of a cluster; allowed: like {"closed": ["172.18.0.2/32", "10.244.0.0/24"]}'
        remedy = "run `make up`, which looks at the cluster and writes it down for Pulumi"
        raise SettingsError([Problem(VARIABLE, text or "(unset)", reason, remedy)]) from None
    return found


def _one(address: str) -> str:
    """The network of one address; nothing for none, and for a Service without one."""
    return f"{address}/{128 if ':' in address else 32}" if address not in ("", "None") else ""


def _networks(networks: Iterable[str]) -> tuple[str, ...]:
    """The networks of a list, each once, and none that lies in another."""
    found = [ipaddress.ip_network(each) for each in networks if each]
    old = ipaddress.collapse_addresses(each for each in found if isinstance(each, ipaddress.IPv4Network))
    new = ipaddress.collapse_addresses(each for each in found if isinstance(each, ipaddress.IPv6Network))
    return tuple(str(each) for each in (*old, *new))


def _merged(*lists: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for some in lists for each in some))
