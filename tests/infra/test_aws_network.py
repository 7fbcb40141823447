"""The VPC: who reaches what, and by which way."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.support.infra import iam
from tests.support.infra.environment import ACCOUNT, ZONES, follows, graph, part

THREE = [*ZONES, "eu-central-1c"]


def network(**changes: Any) -> dict[str, Any]:
    return {"network": {"zones": THREE, **changes}}


@pytest.mark.parametrize(("mode", "gateways", "addresses"), [("single", 1, 1), ("zonal", 3, 3), ("regional", 1, 0)])
def test_ways_out(mode: str, gateways: int, addresses: int) -> None:
    made = part(graph(**network(nat=mode)), "Network")
    assert (len(made.of("NatGateway")), len(made.of("Eip"))) == (gateways, addresses)
    routes = [route for route in made.of("Route") if "natGatewayId" in route.inputs]
    assert [route.name for route in routes] == [f"private-{zone}" for zone in THREE]
    used = Counter(route.inputs["natGatewayId"] for route in routes)
    assert len(used) == gateways
    assert set(used) == {f"{gateway.name}-id" for gateway in made.of("NatGateway")}
    assert all(route.inputs["destinationCidrBlock"] == "0.0.0.0/0" for route in made.of("Route"))


def test_a_zonal_gateway_is_its_own_zones() -> None:
    made = part(graph(**network(nat="zonal")), "Network")
    for zone in THREE:
        (gateway,) = (each for each in made.of("NatGateway") if each.name == zone)
        (route,) = (each for each in made.of("Route") if each.name == f"private-{zone}")
        assert gateway.inputs["subnetId"] == f"public-{zone}-id"
        assert route.inputs["natGatewayId"] == f"{zone}-id"


def test_a_regional_gateway_is_in_no_subnet() -> None:
    inputs = part(graph(**network(nat="regional")), "Network").one("NatGateway").inputs
    assert inputs["availabilityMode"] == "regional"
    assert inputs["vpcId"] == "vpc-id"
    assert not {"subnetId", "allocationId"} & set(inputs)


def test_gateways_come_after_the_internet_and_go_before_it() -> None:
    whole = graph()
    made = part(whole, "Network")
    for kind in ("NatGateway", "Eip"):
        for node in made.of(kind):
            assert follows(whole, node, made.one("InternetGateway"))


def test_subnets_are_found_by_load_balancers_and_give_no_public_address() -> None:
    for subnet in part(graph(), "Network").of("Subnet"):
        assert subnet.inputs["mapPublicIpOnLaunch"] is False
        kind = subnet.name.partition("-")[0]
        role = {"public": "kubernetes.io/role/elb", "private": "kubernetes.io/role/internal-elb"}[kind]
        assert {key for key in subnet.inputs["tags"] if key.startswith("kubernetes.io/role")} == {role}


def test_only_public_subnets_are_routed_to_the_internet() -> None:
    made = part(graph(), "Network")
    tables = {each.inputs["subnetId"]: each.inputs["routeTableId"] for each in made.of("RouteTableAssociation")}
    assert set(tables) == {f"{subnet.name}-id" for subnet in made.of("Subnet")}
    (open_table,) = (each.inputs["routeTableId"] for each in made.of("Route") if "gatewayId" in each.inputs)
    assert {subnet for subnet, table in tables.items() if table == open_table} == {
        f"public-{zone}-id" for zone in ZONES
    }


def test_names_resolve_within_the_vpc() -> None:
    inputs = part(graph(), "Network").one("Vpc").inputs
    assert inputs["enableDnsHostnames"] is True
    assert inputs["enableDnsSupport"] is True


def test_the_default_security_group_lets_nothing_through() -> None:
    inputs = part(graph(), "Network").one("DefaultSecurityGroup").inputs
    assert inputs["ingress"] == []
    assert inputs["egress"] == []


def test_endpoints() -> None:
    made = part(graph(), "Network")
    by_kind: dict[str, set[str]] = {}
    for each in made.of("VpcEndpoint"):
        by_kind.setdefault(each.inputs["vpcEndpointType"], set()).add(each.inputs["serviceName"])
    prefix = "com.amazonaws.eu-central-1."
    assert by_kind["Gateway"] == {f"{prefix}s3"}
    wanted = "autoscaling ec2 ecr.api ecr.dkr eks eks-auth elasticloadbalancing logs sts"
    assert by_kind["Interface"] == {prefix + name for name in wanted.split()}
    for each in made.of("VpcEndpoint"):
        if each.inputs["vpcEndpointType"] == "Interface":
            assert each.inputs["privateDnsEnabled"] is True
            assert each.inputs["securityGroupIds"] == ["endpoints-id"]
            assert each.inputs["subnetIds"] == [f"private-{zone}-id" for zone in ZONES]
        else:
            assert each.inputs["routeTableIds"] == [f"private-{zone}-id" for zone in ZONES]


def test_endpoints_are_the_vpcs_and_by_https_only() -> None:
    inputs = part(graph(), "Network").one("SecurityGroupIngressRule").inputs
    assert (inputs["cidrIpv4"], inputs["fromPort"], inputs["toPort"]) == ("10.0.0.0/16", 443, 443)


def test_without_interface_endpoints_there_is_still_the_one_that_costs_nothing() -> None:
    made = part(graph(**network(interfaceEndpoints=False)), "Network")
    assert [each.name for each in made.of("VpcEndpoint")] == ["s3"]
    assert not made.of("SecurityGroup")


def test_every_connection_is_logged_by_a_role_that_may_do_just_that() -> None:
    whole = graph()
    made = part(whole, "Network")
    log = made.one("FlowLog").inputs
    assert log["trafficType"] == "ALL"
    assert log["vpcId"] == "vpc-id"
    assert made.one("LogGroup").inputs["retentionInDays"] == 90
    assert follows(whole, made.one("FlowLog"), made.one("RolePolicy"))
    written = f"arn:aws:logs:eu-central-1:{ACCOUNT}:log-group:/aws/vpc/devservers-dev/flow"
    first, second = iam.documents(whole)["RolePolicy flow.policy"]["Statement"]
    assert first["Resource"] == [written, f"{written}:*"]
    assert second["Action"] == "logs:DescribeLogGroups"
    (trust,) = iam.documents(whole)["Role flow.assumeRolePolicy"]["Statement"]
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
