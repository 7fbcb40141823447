"""The VPC: subnets, routes, NAT gateways, endpoints and flow logs."""

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
def test_nat_mode_sets_gateways_and_addresses(mode: str, gateways: int, addresses: int) -> None:
    made = part(graph(**network(nat=mode)), "Network")
    assert (len(made.of("NatGateway")), len(made.of("Eip"))) == (gateways, addresses)
    routes = [route for route in made.of("Route") if "natGatewayId" in route.inputs]
    assert [route.name for route in routes] == [f"private-{zone}" for zone in THREE]
    used = Counter(route.inputs["natGatewayId"] for route in routes)
    assert len(used) == gateways
    assert set(used) == {f"{gateway.name}-id" for gateway in made.of("NatGateway")}
    assert all(route.inputs["destinationCidrBlock"] == "0.0.0.0/0" for route in made.of("Route"))


def test_nat_gateway_per_zone_serves_its_own_zone() -> None:
    made = part(graph(**network(nat="zonal")), "Network")
    for zone in THREE:
        (gateway,) = (each for each in made.of("NatGateway") if each.name == zone)
        (route,) = (each for each in made.of("Route") if each.name == f"private-{zone}")
        assert gateway.inputs["subnetId"] == f"public-{zone}-id"
        assert route.inputs["natGatewayId"] == f"{zone}-id"


def test_nat_gateway_of_a_region_has_no_subnet() -> None:
    inputs = part(graph(**network(nat="regional")), "Network").one("NatGateway").inputs
    assert inputs["availabilityMode"] == "regional"
    assert inputs["vpcId"] == "vpc-id"
    assert not {"subnetId", "allocationId"} & set(inputs)


def test_nat_gateway_depends_on_the_internet_gateway() -> None:
    whole = graph()
    made = part(whole, "Network")
    for kind in ("NatGateway", "Eip"):
        for node in made.of(kind):
            assert follows(whole, node, made.one("InternetGateway"))


def test_subnets_have_load_balancer_tags_and_no_public_addresses() -> None:
    for subnet in part(graph(), "Network").of("Subnet"):
        assert subnet.inputs["mapPublicIpOnLaunch"] is False
        kind = subnet.name.partition("-")[0]
        role = {"public": "kubernetes.io/role/elb", "private": "kubernetes.io/role/internal-elb"}[kind]
        assert {key for key in subnet.inputs["tags"] if key.startswith("kubernetes.io/role")} == {role}


def test_route_tables_of_public_subnets_only_reach_the_internet_gateway() -> None:
    made = part(graph(), "Network")
    tables = {each.inputs["subnetId"]: each.inputs["routeTableId"] for each in made.of("RouteTableAssociation")}
    assert set(tables) == {f"{subnet.name}-id" for subnet in made.of("Subnet")}
    (open_table,) = (each.inputs["routeTableId"] for each in made.of("Route") if "gatewayId" in each.inputs)
    assert {subnet for subnet, table in tables.items() if table == open_table} == {
        f"public-{zone}-id" for zone in ZONES
    }


def test_vpc_resolves_names() -> None:
    inputs = part(graph(), "Network").one("Vpc").inputs
    assert inputs["enableDnsHostnames"] is True
    assert inputs["enableDnsSupport"] is True


def test_default_security_group_has_no_rules() -> None:
    inputs = part(graph(), "Network").one("DefaultSecurityGroup").inputs
    assert inputs["ingress"] == []
    assert inputs["egress"] == []


def test_vpc_endpoints_cover_the_expected_services() -> None:
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


def test_vpc_endpoints_admit_https_from_the_vpc_only() -> None:
    inputs = part(graph(), "Network").one("SecurityGroupIngressRule").inputs
    assert (inputs["cidrIpv4"], inputs["fromPort"], inputs["toPort"]) == ("10.0.0.0/16", 443, 443)


def test_vpc_without_interface_endpoints_keeps_the_s3_gateway() -> None:
    made = part(graph(**network(interfaceEndpoints=False)), "Network")
    assert [each.name for each in made.of("VpcEndpoint")] == ["s3"]
    assert not made.of("SecurityGroup")


def test_flow_log_records_all_traffic_with_a_minimal_role() -> None:
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
