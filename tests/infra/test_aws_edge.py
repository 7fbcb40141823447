"""The network load balancer of the bastion: allowed networks, draining and DNS."""

from __future__ import annotations

from typing import Any

import pytest

from infra.platform.bastion import target_group_binding
from infra.preview.graph import Graph
from tests.support.infra.aws_graph import DEV, PROD, ZONES, by_name, part, recorded, settings


def edge_with(**changes: Any) -> Graph:
    return part(recorded(settings(DEV, edge=DEV["edge"] | changes)), "Edge")


def test_edge_admits_the_allowed_networks_only(dev: Graph) -> None:
    rules = [node.inputs for node in part(dev, "Edge").of("SecurityGroupIngressRule")]
    outside = [rule for rule in rules if rule["securityGroupId"] == "edge-id"]
    assert {rule["cidrIpv4"] for rule in outside} == {"203.0.113.0/24", "198.51.100.7/32"}
    assert {(rule["fromPort"], rule["toPort"], rule["ipProtocol"]) for rule in outside} == {(22, 22, "tcp")}
    assert part(dev, "Edge").one("LoadBalancer").inputs["securityGroups"] == ["edge-id"]


def test_edge_without_allowed_networks_admits_nobody() -> None:
    rules = edge_with(allowedCidrs=[]).of("SecurityGroupIngressRule")
    assert {node.inputs["securityGroupId"] for node in rules} == {"sg-cluster"}


def test_edge_security_groups_allow_ssh_and_health_only(dev: Graph) -> None:
    edge = part(dev, "Edge")
    out = [node.inputs for node in edge.of("SecurityGroupEgressRule")]
    inward = [node.inputs for node in edge.of("SecurityGroupIngressRule") if "cidrIpv4" not in node.inputs]
    ports = {(2222, 2222, "tcp"), (8081, 8081, "tcp")}
    assert {(rule["fromPort"], rule["toPort"], rule["ipProtocol"]) for rule in out} == ports
    assert {(rule["fromPort"], rule["toPort"], rule["ipProtocol"]) for rule in inward} == ports
    assert {(rule["securityGroupId"], rule["referencedSecurityGroupId"]) for rule in out} == {("edge-id", "sg-cluster")}
    assert {(r["securityGroupId"], r["referencedSecurityGroupId"]) for r in inward} == {("sg-cluster", "edge-id")}
    assert not {"ingress", "egress"} & set(edge.one("SecurityGroup").inputs)


def test_load_balancer_is_public_and_cross_zone(dev: Graph) -> None:
    balancer = part(dev, "Edge").one("LoadBalancer").inputs
    assert (balancer["loadBalancerType"], balancer["internal"]) == ("network", False)
    assert balancer["enableCrossZoneLoadBalancing"] is True
    assert balancer["enableDeletionProtection"] is False
    assert [each["subnetId"] for each in balancer["subnetMappings"]] == [f"public-{zone}-id" for zone in ZONES[:2]]
    assert not part(dev, "Edge").of("Eip")
    assert edge_with(deletionProtection=True).one("LoadBalancer").inputs["enableDeletionProtection"] is True


def test_load_balancer_in_prod_has_fixed_addresses(prod: Graph) -> None:
    edge = part(prod, "Edge")
    assert edge.one("LoadBalancer").inputs["enableDeletionProtection"] is True
    assert set(by_name(edge, "Eip")) == {f"edge-{zone}" for zone in ZONES}
    mappings = edge.one("LoadBalancer").inputs["subnetMappings"]
    assert [each["allocationId"] for each in mappings] == [f"edge-{zone}-id" for zone in ZONES]


def test_target_group_keeps_connections_while_draining(dev: Graph) -> None:
    group = part(dev, "Edge").one("TargetGroup").inputs
    assert (group["targetType"], group["protocol"], group["port"]) == ("ip", "TCP", 2222)
    assert group["preserveClientIp"] == "true"
    assert group["connectionTermination"] is False
    assert group["deregistrationDelay"] == 3600
    assert group["targetHealthStates"] == [
        {"enableUnhealthyConnectionTermination": False, "unhealthyDrainingInterval": 3600}
    ]
    shorter = edge_with(drainSeconds=60).one("TargetGroup").inputs
    assert shorter["deregistrationDelay"] == 60
    assert shorter["targetHealthStates"][0]["unhealthyDrainingInterval"] == 60


def test_target_group_health_check_uses_http(dev: Graph) -> None:
    check = part(dev, "Edge").one("TargetGroup").inputs["healthCheck"]
    assert (check["protocol"], check["port"], check["path"]) == ("HTTP", "8081", "/readyz")
    # A pod that goes keeps its listener for 15 s: by then nobody is sent to it any more.
    assert check["interval"] * check["unhealthyThreshold"] < 15
    assert check["timeout"] < check["interval"]


def test_listener_idle_timeout_follows_the_setting() -> None:
    listener = edge_with(idleSeconds=6000, port=443).one("Listener").inputs
    assert (listener["protocol"], listener["port"], listener["tcpIdleTimeoutSeconds"]) == ("TCP", 443, 6000)
    assert [action["type"] for action in listener["defaultActions"]] == ["forward"]


class TestName:
    """In DNS."""

    def test_hosted_zone_by_name_is_created(self, dev: Graph, prod: Graph) -> None:
        record = part(dev, "Edge").one("Record").inputs
        assert (record["name"], record["type"], record["zoneId"]) == ("ssh.dev.example.com", "A", "Z0MADE")
        (alias,) = record["aliases"]
        assert alias == {"evaluateTargetHealth": True, "name": "edge.elb.example.com", "zoneId": "Z0LOADBALANCER"}
        assert [node.protect for node in dev.of("Zone")] == [False]
        assert [node.protect for node in prod.of("Zone")] == [True]

    def test_hosted_zone_with_an_id_is_used(self) -> None:
        edge = edge_with(hostedZone={"name": "dev.example.com", "id": "Z0GIVEN"})
        assert not edge.of("Zone")
        assert edge.one("Record").inputs["zoneId"] == "Z0GIVEN"

    def test_hosted_zone_of_none_creates_no_record(self) -> None:
        edge = edge_with(hostedZone=None, hostname="")
        assert not edge.of("Zone")
        assert not edge.of("Record")

    def test_hosted_zone_without_a_hostname_creates_no_record(self) -> None:
        edge = edge_with(hostname="")
        assert edge.of("Zone")
        assert not edge.of("Record")


@pytest.mark.parametrize("stack", ["dev", "a-stack-with-a-rather-long-name-of-its-own"])
def test_load_balancer_and_target_group_names_fit_the_limit(stack: str) -> None:
    edge = part(recorded(settings(PROD), stack=stack), "Edge")
    for kind in ("LoadBalancer", "TargetGroup"):
        assert len(edge.one(kind).inputs["name"]) <= 32


def test_target_group_binding_has_no_networking_rules() -> None:
    manifest = target_group_binding.target_group_binding("arn:x")
    assert manifest["apiVersion"] == "elbv2.k8s.aws/v1beta1"
    assert manifest["metadata"] == {"name": "bastion", "namespace": "devservers-bastion"}
    assert manifest["spec"] == {
        "serviceRef": {"name": "bastion", "port": 22},
        "targetGroupARN": "arn:x",
        "targetType": "ip",
        "ipAddressType": "ipv4",
    }
