"""Validation of an environment's addresses, zones and public access.

Invariant: addresses that pass here overlap nowhere, and no API server or production bastion is open to the world.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from ipaddress import IPv4Network

from infra.catalog.networks import is_open_to_the_world
from infra.settings.aws.models import Aws
from infra.settings.aws.subnets import MAX_PREFIX_LENGTH, MAX_ZONES, MIN_PREFIX_LENGTH
from infra.settings.problems import Problem, duplicates, problem

PRIVATE = tuple(IPv4Network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
"""RFC 1918."""
SHARED = IPv4Network("100.64.0.0/10")
"""RFC 6598, which a VPC may have as well."""
MAX_API_CIDRS = 40
"""EKS's quota of networks that reach a public endpoint."""
SERVICES = range(12, 25)
"""Prefix lengths of the addresses of Services (eks:CreateCluster, serviceIpv4Cidr)."""
Problems = list[Problem]


def problems_of(aws: Aws) -> list[Problem]:
    """Everything wrong with networks, zones and the ways in and out."""
    found: Problems = []
    networks = _vpc_and_services(aws, found)
    _overlapping(networks, found)
    found += _zones(aws)
    found += _egress(aws)
    found += _api(aws, _parsed("kubernetes.publicAccessCidrs", aws.kubernetes.public_access_cidrs, found))
    found += _bastion(aws, _parsed("edge.allowedCidrs", aws.edge.allowed_cidrs, found))
    return found


def _vpc_and_services(aws: Aws, found: Problems) -> list[tuple[str, IPv4Network]]:
    """The valid networks among the VPC's, the Services' and the reserved ones."""
    networks = []
    if vpc := _network("network.cidr", aws.network.cidr, found):
        networks.append(("network.cidr", vpc))
        if not any(vpc.subnet_of(each) for each in (*PRIVATE, SHARED)):
            found.append(
                problem(
                    "network.cidr",
                    str(vpc),
                    "not private addresses",
                    "take a network of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10",
                )
            )
        if not MIN_PREFIX_LENGTH <= vpc.prefixlen <= MAX_PREFIX_LENGTH:
            size = "big" if vpc.prefixlen < MIN_PREFIX_LENGTH else "small"
            found.append(
                problem(
                    "network.cidr",
                    str(vpc),
                    f"too {size} for a VPC with {MAX_ZONES} zones, where each pod has an address",
                    f"take a /{MIN_PREFIX_LENGTH} to a /{MAX_PREFIX_LENGTH}, like 10.20.0.0/{MIN_PREFIX_LENGTH}",
                )
            )
    if services := _network("kubernetes.serviceCidr", aws.kubernetes.service_cidr, found):
        networks.append(("kubernetes.serviceCidr", services))
        if not any(services.subnet_of(each) for each in PRIVATE) or services.prefixlen not in SERVICES:
            found.append(
                problem(
                    "kubernetes.serviceCidr",
                    str(services),
                    "EKS takes no such network for Services",
                    "take a /12 to a /24 of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16, like 172.20.0.0/16",
                )
            )
    return networks + _parsed("network.reservedCidrs", aws.network.reserved_cidrs, found)


def _overlapping(networks: list[tuple[str, IPv4Network]], found: Problems) -> None:
    """Reserved networks may overlap each other: a VPN's may hold an office's."""
    for place, (key, network) in enumerate(networks):
        for before, other in networks[:place]:
            if network.overlaps(other) and not before.startswith("network.reservedCidrs"):
                found.append(
                    problem(
                        key,
                        str(network),
                        f"it overlaps {before} ({other}), and what is in both could not be reached",
                        f"take another network for one of them, like {_free(networks, other.prefixlen)}",
                    )
                )


def _free(networks: list[tuple[str, IPv4Network]], prefix: int) -> str:
    """A network of that size which overlaps none of them."""
    length = min(max(prefix, MIN_PREFIX_LENGTH), MAX_PREFIX_LENGTH)
    for block in (PRIVATE[0], PRIVATE[1], PRIVATE[2], SHARED):
        for each in block.subnets(new_prefix=length):
            if not any(each.overlaps(network) for _, network in networks):
                return str(each)
    return "one outside all of them"


def _zones(aws: Aws) -> Iterator[Problem]:
    zones, region = aws.network.zones, aws.region
    yield from duplicates("network.zones", zones)
    for place, zone in enumerate(zones):
        if zone[:-1] != region:
            yield problem(f"network.zones[{place}]", zone, f"not in {region}", f"take zones like {region}a")
    count = len(dict.fromkeys(zones))
    if count < 2:
        reason = "EKS wants subnets in two zones at least"
        yield problem("network.zones", list(zones), reason, f"add a zone, like {_another(zones, region)}")
    elif count > MAX_ZONES:
        reason = f"the network is cut for {MAX_ZONES} zones at most"
        yield problem("network.zones", list(zones), reason, f"leave {MAX_ZONES} of them")
    elif aws.production and count < MAX_ZONES:
        reason = "production goes on when one zone fails, with two left"
        yield problem("network.zones", list(zones), reason, f"add a third zone, like {_another(zones, region)}")


def _another(zones: tuple[str, ...], region: str) -> str:
    return next(f"{region}{letter}" for letter in "abcdef" if f"{region}{letter}" not in zones)


def _egress(aws: Aws) -> Iterator[Problem]:
    if aws.production and aws.network.nat == "single":
        yield problem(
            "network.nat",
            "single",
            "when its zone fails, no server in production has a way out",
            "set it to regional, or to zonal for one gateway in each zone",
        )


def _api(aws: Aws, networks: list[tuple[str, IPv4Network]]) -> Iterator[Problem]:
    key = "kubernetes.publicAccessCidrs"
    given = aws.kubernetes.public_access_cidrs
    if aws.production and given:
        yield problem(
            key,
            list(given),
            "production's API server is reached from inside the VPC only",
            f"remove {key}, and come by VPN, by the bastion, or by a runner in the VPC",
        )
    if len(given) > MAX_API_CIDRS:
        yield problem(key, list(given), f"EKS takes {MAX_API_CIDRS} networks at most", "join neighbouring networks")
    for path, network in networks:
        if is_open_to_the_world(network):
            yield problem(
                path,
                str(network),
                "it opens the API server to the world",
                "name the networks of your offices, VPN and runners, like 203.0.113.0/24",
            )
        elif any(network.overlaps(each) for each in (*PRIVATE, SHARED)):
            yield problem(
                path,
                str(network),
                "nobody on the internet has such an address, and EKS refuses it",
                "remove it: private networks reach the API server inside the VPC",
            )


def _bastion(aws: Aws, networks: list[tuple[str, IPv4Network]]) -> Iterator[Problem]:
    """Networks that may connect by SSH.

    Outside production SSH may be open to the world, when that is written down: the bastion accepts keys only, and
    people without a VPN have no network to name.
    """
    for path, network in networks:
        if aws.production and is_open_to_the_world(network):
            yield problem(
                path,
                str(network),
                "it opens production's SSH to the world",
                "name the networks of your offices and VPN, like 203.0.113.0/24",
            )


def _parsed(path: str, values: tuple[str, ...], found: Problems) -> list[tuple[str, IPv4Network]]:
    """The networks of a list, with their keys; what is none is a problem."""
    keys = [f"{path}[{place}]" for place in range(len(values))]
    found += duplicates(path, values)
    parsed = [(key, _network(key, value, found)) for key, value in zip(keys, values, strict=True)]
    return [(key, network) for key, network in parsed if network is not None]


def _network(path: str, value: str, found: Problems) -> IPv4Network | None:
    try:
        return IPv4Network(value)
    except ValueError:
        pass
    try:
        whole = ipaddress.IPv4Interface(value).network
    except ValueError:
        reason, remedy = "not an IPv4 network", "write four numbers up to 255 and a length up to 32, like 10.20.0.0/16"
        found.append(problem(path, value, reason, remedy))
        return None
    found.append(problem(path, value, "an address within a network, not a network", f"write {whole}"))
    return None
