"""Policy rules about security groups and flow logs.

Invariant: the world reaches the edge's port and nothing else, and who talked to whom can be looked up.
"""

from __future__ import annotations

from collections.abc import Iterator

from infra.policy.cluster_rules import of_the_world
from infra.policy.rule import Rule
from infra.policy.subject import Stack, Subject, Unknown, at, items

VPC = "aws:ec2/vpc:Vpc"
FLOW_LOG = "aws:ec2/flowLog:FlowLog"
Ingress = tuple[list[object], object, object, object]
"""Networks, first port, last port, protocol."""


def _flow_logs(stack: Stack) -> Iterator[tuple[Subject, str]]:
    logged = stack.needed_by(FLOW_LOG)
    for vpc in stack.of(VPC):
        if vpc.urn not in logged:
            yield vpc, "nothing keeps its flow logs"
    for log in stack.of(FLOW_LOG):
        traffic = log.at("trafficType") or "ALL"
        if traffic != "ALL" and not isinstance(traffic, Unknown):
            yield log, f"it keeps {traffic} traffic only"


def _ingress(subject: Subject) -> Iterator[Ingress]:
    """What a security group, or a rule of one, lets in."""
    inputs = subject.inputs
    if subject.type == "aws:ec2/securityGroup:SecurityGroup":
        for rule in items(inputs.get("ingress")):
            networks = items(at(rule, "cidrBlocks")) + items(at(rule, "ipv6CidrBlocks"))
            yield networks, at(rule, "fromPort"), at(rule, "toPort"), at(rule, "protocol")
    if subject.type == "aws:ec2/securityGroupRule:SecurityGroupRule" and inputs.get("type") == "ingress":
        networks = items(inputs.get("cidrBlocks")) + items(inputs.get("ipv6CidrBlocks"))
        yield networks, inputs.get("fromPort"), inputs.get("toPort"), inputs.get("protocol")
    if subject.type == "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule":
        networks = items(inputs.get("cidrIpv4")) + items(inputs.get("cidrIpv6"))
        yield networks, inputs.get("fromPort"), inputs.get("toPort"), inputs.get("ipProtocol")


def _from_the_world(stack: Stack) -> Iterator[tuple[Subject, str]]:
    edge = {listener.at("port") for listener in stack.of("aws:lb/listener:Listener")}
    for subject in stack.subjects:
        for networks, first, last, protocol in _ingress(subject):
            if not any(map(of_the_world, networks)):
                continue
            if not (first == last and first in edge and protocol == "tcp"):
                ports = "every port" if first is None or str(protocol) == "-1" else f"ports {first} to {last}"
                yield subject, f"the whole internet reaches {ports}"


RULES = (
    Rule(
        "flow-logs",
        "Every VPC's traffic is logged.",
        "make an aws.ec2.FlowLog for it, traffic type ALL",
        check_stack=_flow_logs,
    ),
    Rule(
        "world-reaches-the-edge-only",
        "From the whole internet, in one network or in several, only the load balancer's own port is open.",
        "name who may come in, or the edge's port alone",
        check_stack=_from_the_world,
    ),
)
