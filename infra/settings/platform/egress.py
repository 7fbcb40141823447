"""Settings of servers' egress: open and closed networks, name servers.

The operator closes what every cluster has (link-local addresses, where a cloud tells a node its secrets) by itself;
here is what differs from one network to another. With cluster `local` `make up` adds the cluster's own addresses
(infra/local/networks.py), on AWS the VPC's and the Services' are added.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from infra.settings.model import Cidr, Cidrs, SettingsModel, allowed

LINK_LOCAL = ipaddress.IPv4Network("169.254.0.0/16")


def _read(network: Cidr) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(network)
    except ValueError as error:
        raise PydanticCustomError("network", "not an IPv4 network: {why}", {"why": str(error)}) from None


def _openable(networks: tuple[Cidr, ...]) -> tuple[Cidr, ...]:
    for network in networks:
        if _read(network).overlaps(LINK_LOCAL):
            raise PydanticCustomError(
                "link_local",
                "{network} holds link-local addresses (169.254.0.0/16), where a cloud tells a node its secrets; "
                "name what people need only",
                {"network": network},
            )
    return networks


def _closable(networks: tuple[Cidr, ...]) -> tuple[Cidr, ...]:
    if any(_read(network).prefixlen == 0 for network in networks):
        raise PydanticCustomError("everything", "0.0.0.0/0 would close everything; name the networks that are closed")
    return networks


Openable = Annotated[Cidrs, AfterValidator(_openable)]
Closable = Annotated[Cidrs, AfterValidator(_closable)]


class Egress(SettingsModel):
    """The networks that servers reach beside the internet, and those that they don't."""

    allow: Openable = ()
    """Open although they lie in a closed network: a VPC endpoint, a registry or a file server of one's own."""
    deny: Closable = ()
    """Closed beside the cluster's own: peered networks, offices, what is reached by a VPN."""
    dns: Openable = Field(default=(), json_schema_extra=allowed("IPv4 networks like 203.0.113.53/32"))
    """Name servers outside the cluster that servers ask, port 53 only. `make up` adds the embedded cluster's."""
