"""What a person's servers may reach, as the policy of their namespace says it."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from devservers.build.egress import Egress, policy

NODE, PODS = "10.213.0.2/32", "10.244.0.0/24"
LOCAL = Egress.of(closed=f"{NODE},{PODS}", opened="", dns=NODE)
AWS = Egress.of(closed="10.0.0.0/16,172.20.0.0/16", opened="10.0.7.7/32", dns="")


def _allowed(spec: dict[str, Any], address: str, port: int) -> bool:
    """Whether a pod of the namespace reaches an address that is no pod's (NetworkPolicy, networking.k8s.io/v1)."""
    wanted = ipaddress.ip_address(address)
    for rule in spec["egress"]:
        if "ports" in rule and port not in [each["port"] for each in rule["ports"]]:
            continue
        for block in (each["ipBlock"] for each in rule["to"] if "ipBlock" in each):
            inside = wanted in ipaddress.ip_network(block["cidr"])
            if inside and not any(wanted in ipaddress.ip_network(each) for each in block.get("except", [])):
                return True
    return False


@pytest.mark.parametrize(
    ("egress", "address", "port", "open_"),
    [
        (LOCAL, "93.184.216.34", 443, True),  # packages, repositories, buckets
        (LOCAL, "93.184.216.34", 22, True),
        (LOCAL, "10.213.0.2", 53, True),  # names, and nothing else of the node
        (LOCAL, "10.213.0.2", 10250, False),
        (LOCAL, "10.213.0.2", 6443, False),
        (LOCAL, "10.244.0.7", 8082, False),  # other people's pods, and the platform's
        (LOCAL, "169.254.169.254", 80, False),
        (LOCAL, "169.254.20.10", 53, True),
        (LOCAL, "169.254.20.10", 80, False),
        (LOCAL, "fe80::1", 80, False),
        (LOCAL, "fd00:ec2::254", 80, False),
        (LOCAL, "2001:db8::1", 443, True),
        (Egress(), "169.254.169.254", 80, False),  # whatever the stack says
        (Egress(), "10.0.0.1", 443, True),
        (AWS, "10.0.3.4", 443, False),  # the API server, nodes, other people's pods
        (AWS, "172.20.0.1", 443, False),
        (AWS, "10.0.7.7", 443, True),  # a VPC endpoint of the stack's list
        (AWS, "52.95.110.1", 443, True),
        (Egress(("2001:db8:1::/48",)), "2001:db8:1::5", 443, False),
        (Egress(("10.1.0.0/16",), ("10.1.0.0/16",)), "10.1.2.3", 443, True),
    ],
)
def test_policy_opens_the_internet_and_closes_the_cluster(egress: Egress, address: str, port: int, open_: bool) -> None:
    assert _allowed(policy(egress), address, port) is open_


def test_policy_selects_every_pod_and_egress_only() -> None:
    spec = policy(LOCAL)
    assert (spec["podSelector"], spec["policyTypes"]) == ({}, ["Egress"])


def test_policy_exceptions_lie_inside_their_block() -> None:
    """Each must lie within its block (validation of networking.k8s.io/v1)."""
    for egress in (LOCAL, AWS, Egress()):
        blocks = [each["ipBlock"] for rule in policy(egress)["egress"] for each in rule["to"] if "ipBlock" in each]
        for block in blocks:
            whole = ipaddress.ip_network(block["cidr"])
            for each in block.get("except", []):
                inner = ipaddress.ip_network(each)
                assert inner != whole
                assert inner.subnet_of(whole)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["lots", "10.0.0.1/8", "10.0.0.0/33"])
def test_egress_of_an_invalid_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0|lots"):
        Egress.of(closed=text, opened="", dns="")
