"""Measures the networks around a cluster on this machine, for the Pulumi program (infra/local/networks.py)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from devcluster.node.components import POD_CIDR, SERVICE_CIDR, Site
from infra.local.networks import ClusterNetworks

_ADDRESSES = ("InternalIP", "ExternalIP")


def measure(
    nodes: Iterable[Mapping[str, Any]],
    services: Iterable[Mapping[str, Any]],
    slices: Iterable[Mapping[str, Any]],
    site: Site | None = None,
) -> ClusterNetworks:
    """What is around a cluster, from what `kubectl get` lists. Pure.

    ``services`` and ``slices`` (EndpointSlices) are those of the API server, ``site`` is the embedded cluster's.
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
        return ClusterNetworks(_networks(closed))
    link = str(ipaddress.IPv4Network(f"{site.gateway}/30", strict=False))
    # Its pods' addresses come from the CNI plugin's own range, so its node has no podCIDR.
    return ClusterNetworks(_networks([*closed, POD_CIDR, SERVICE_CIDR, link]), (_one(site.address),), (link,))


def _one(address: str) -> str:
    """The network of one address; nothing for none, and for a Service without one."""
    return f"{address}/{128 if ':' in address else 32}" if address not in ("", "None") else ""


def _networks(networks: Iterable[str]) -> tuple[str, ...]:
    """The networks of a list, each once, and none that lies in another."""
    parsed = [ipaddress.ip_network(each) for each in networks if each]
    old = ipaddress.collapse_addresses(each for each in parsed if isinstance(each, ipaddress.IPv4Network))
    new = ipaddress.collapse_addresses(each for each in parsed if isinstance(each, ipaddress.IPv6Network))
    return tuple(str(each) for each in (*old, *new))
