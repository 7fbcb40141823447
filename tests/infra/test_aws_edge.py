"""The way in: who may come, what the load balancer does to sessions, and its name."""

from __future__ import annotations

from typing import Any

import pytest

from infra.aws import binding
from infra.preview.recorder import Graph
from tests.support.infra.aws_graph import DEV, PROD, ZONES, by_name, part, recorded, settings


def edge_with(**changes: Any) -> Graph:
    return part(recorded(settings(DEV, edge=DEV["edge"] | changes)), "Edge")


def test_only_allowed_networks_come_in(dev: Graph) -> None:
    rules = [node.inputs for node in part(dev, "Edge").of("SecurityGroupIngressRule")]
    outside = [rule for rule in rules if rule["securityGroupId"] == "edge-id"]
    assert {rule["cidrIpv4"] for rule in outside} == {"203.0.113.0/24", "198.51.100.7/32"}
    assert {(rule["fromPort"], rule["toPort"], rule["ipProtocol"]) for rule in outside} == {(22, 22, "tcp")}
    assert part(dev, "Edge").one("LoadBalancer").inputs["securityGroups"] == ["edge-id"]


def test_no_network_allowed_is_nobody() -> None:
    rules = edge_with(allowedCidrs=[]).of("SecurityGroupIngressRule")
    assert {node.inputs["securityGroupId"] for node in rules} == {"sg-cluster"}


def test_the_load_balancer_reaches_ssh_and_health_of_pods_and_nothing_else(dev: Graph) -> None:
    edge = part(dev, "Edge")
    out = [node.inputs for node in edge.of("SecurityGroupEgressRule")]
    inward = [node.inputs for node in edge.of("SecurityGroupIngressRule") if "cidrIpv4" not in node.inputs]
    ports = {(2222, 2222, "tcp"), (8081, 8081, "tcp")}
    assert {(rule["fromPort"], rule["toPort"], rule["ipProtocol"]) for rule in out} == ports
    assert {(rule["fromPort"], rule["toPort"], rule["ipProtocol"]) for rule in inward} == ports
    assert {(rule["securityGroupId"], rule["referencedSecurityGroupId"]) for rule in out} == {("edge-id", "sg-cluster")}
    assert {(r["securityGroupId"], r["referencedSecurityGroupId"]) for r in inward} == {("sg-cluster", "edge-id")}
    assert not {"ingress", "egress"} & set(edge.one("SecurityGroup").inputs)


def test_the_load_balancer(dev: Graph) -> None:
    balancer = part(dev, "Edge").one("LoadBalancer").inputs
    assert (balancer["loadBalancerType"], balancer["internal"]) == ("network", False)
    assert balancer["enableCrossZoneLoadBalancing"] is True
    assert balancer["enableDeletionProtection"] is False
    assert [each["subnetId"] for each in balancer["subnetMappings"]] == [f"public-{zone}-id" for zone in ZONES[:2]]
    assert not part(dev, "Edge").of("Eip")
    assert edge_with(deletionProtection=True).one("LoadBalancer").inputs["enableDeletionProtection"] is True


def test_addresses_stay_in_prod(prod: Graph) -> None:
    edge = part(prod, "Edge")
    assert edge.one("LoadBalancer").inputs["enableDeletionProtection"] is True
    assert set(by_name(edge, "Eip")) == {f"edge-{zone}" for zone in ZONES}
    mappings = edge.one("LoadBalancer").inputs["subnetMappings"]
    assert [each["allocationId"] for each in mappings] == [f"edge-{zone}-id" for zone in ZONES]


def test_sessions_outlive_a_rollout(dev: Graph) -> None:
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


def test_health_is_asked_apart_from_ssh(dev: Graph) -> None:
    check = part(dev, "Edge").one("TargetGroup").inputs["healthCheck"]
    assert (check["protocol"], check["port"], check["path"]) == ("HTTP", "8081", "/readyz")
    # A pod that goes keeps its listener for 15 s: by then nobody is sent to it any more.
    assert check["interval"] * check["unhealthyThreshold"] < 15
    assert check["timeout"] < check["interval"]


def test_idle_sessions_are_kept_as_long_as_the_stack_says() -> None:
    listener = edge_with(idleSeconds=6000, port=443).one("Listener").inputs
    assert (listener["protocol"], listener["port"], listener["tcpIdleTimeoutSeconds"]) == ("TCP", 443, 6000)
    assert [action["type"] for action in listener["defaultActions"]] == ["forward"]


class TestName:
    """In DNS."""

    def test_the_zone_is_made(self, dev: Graph, prod: Graph) -> None:
        record = part(dev, "Edge").one("Record").inputs
        assert (record["name"], record["type"], record["zoneId"]) == ("ssh.dev.example.com", "A", "Z0MADE")
        (alias,) = record["aliases"]
        assert alias == {"evaluateTargetHealth": True, "name": "edge.elb.example.com", "zoneId": "Z0LOADBALANCER"}
        assert [node.protect for node in dev.of("Zone")] == [False]
        assert [node.protect for node in prod.of("Zone")] == [True]

    def test_or_given(self) -> None:
        edge = edge_with(hostedZone={"name": "dev.example.com", "id": "Z0GIVEN"})
        assert not edge.of("Zone")
        assert edge.one("Record").inputs["zoneId"] == "Z0GIVEN"

    def test_or_none(self) -> None:
        edge = edge_with(hostedZone=None, hostname="")
        assert not edge.of("Zone")
        assert not edge.of("Record")

    def test_a_zone_can_be_without_a_name_for_ssh(self) -> None:
        edge = edge_with(hostname="")
        assert edge.of("Zone")
        assert not edge.of("Record")


@pytest.mark.parametrize("stack", ["dev", "a-stack-with-a-rather-long-name-of-its-own"])
def test_names_are_short_enough(stack: str) -> None:
    edge = part(recorded(settings(PROD), stack=stack), "Edge")
    for kind in ("LoadBalancer", "TargetGroup"):
        assert len(edge.one(kind).inputs["name"]) <= 32


def test_the_binding_opens_nothing_by_itself() -> None:
    manifest = binding.target_group_binding("arn:x")
    assert manifest["apiVersion"] == "elbv2.k8s.aws/v1beta1"
    assert manifest["metadata"] == {"name": "bastion", "namespace": "devservers-bastion"}
    assert manifest["spec"] == {
        "serviceRef": {"name": "bastion", "port": 22},
        "targetGroupARN": "arn:x",
        "targetType": "ip",
        "ipAddressType": "ipv4",
    }
