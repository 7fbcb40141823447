"""The NetworkPolicy on what the pods of a user may reach.

Closed are link-local addresses, where a cloud gives a node its secrets, and the networks in the settings: those of
nodes, of other users' pods, and the API server's. Everything else stays open, because packages, repositories and
buckets come from anywhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from devservers_core.types import Json

EGRESS = "egress"
ALWAYS_CLOSED = ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32")
"""Link-local addresses, and where EC2 answers over IPv6."""
NODE_LOCAL_DNS = "169.254.20.10/32"
"""Where NodeLocal DNSCache answers on clusters that have it; nothing is there on others."""
_EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}


@dataclass(frozen=True, slots=True)
class Egress:
    """The networks around a cluster, in CIDR notation."""

    closed: tuple[str, ...] = ()
    """Beside link-local addresses: nodes, pods, Services, and what else the stack says."""
    opened: tuple[str, ...] = ()
    """Open although they lie in a closed one."""
    dns: tuple[str, ...] = ()
    """Name servers that are no pods."""

    @classmethod
    def of(cls, closed: str, opened: str, dns: str) -> Egress:
        """Reads lists with commas, as settings have them. Raises ValueError for what is no network."""
        return cls(*(tuple(_networks(text)) for text in (closed, opened, dns)))


def policy(egress: Egress) -> Json:
    """The spec of the policy, for every pod of the namespace."""
    closed = dict.fromkeys((*ALWAYS_CLOSED, *egress.closed))
    names = [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        },
        *(_block(network) for network in (NODE_LOCAL_DNS, *egress.dns)),
    ]
    return {
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [
            {"to": names, "ports": [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]},
            # The ingress policies decide what a pod accepts.
            {"to": [{"podSelector": {}}]},
            {
                "to": [
                    *(
                        _block(
                            everything,
                            [network for network in closed if ipaddress.ip_network(network).version == version],
                        )
                        for version, everything in _EVERYTHING.items()
                    ),
                ]
            },
            # A rule of its own: what is closed above may be the very same network.
            *([{"to": [_block(network) for network in egress.opened]}] if egress.opened else []),
        ],
    }


def _block(network: str, closed: Sequence[str] = ()) -> Json:
    return {"ipBlock": {"cidr": network, **({"except": list(closed)} if closed else {})}}


def _networks(text: str) -> list[str]:
    return [str(ipaddress.ip_network(item.strip())) for item in text.split(",") if item.strip()]
