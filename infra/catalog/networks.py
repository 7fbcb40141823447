"""How wide a network may be that a stack opens something to."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

WIDEST = {4: 8, 6: 16}
"""Bits, by the version of IP."""


def is_open_to_the_world(network: IPv4Network | IPv6Network) -> bool:
    """Whether a network is wider than any one organisation's: 0.0.0.0/0 in two halves, say."""
    return network.prefixlen < WIDEST[network.version]
