"""Ingress and egress rules of security groups.

Invariant: a security group opens one TCP port at a time, to one network or one other group, and says what for.

A rule is a resource of its own: with rules inside the group two that name each other could not both be made.
"""

from __future__ import annotations

import pulumi
from pulumi_aws import vpc

Group = pulumi.Input[str]


def allow_ingress(
    name: str,
    group: Group,
    port: int,
    description: str,
    opts: pulumi.ResourceOptions,
    *,
    source: Group | None = None,
    cidr: str | None = None,
) -> None:
    """Open a port of ``group`` to another group or to an IPv4 network."""
    _rule(vpc.SecurityGroupIngressRule, name, group, port, description, opts, source, cidr)


def allow_egress(name: str, group: Group, port: int, description: str, opts: pulumi.ResourceOptions, to: Group) -> None:
    """Let ``group`` reach a port of another."""
    _rule(vpc.SecurityGroupEgressRule, name, group, port, description, opts, to, None)


def _rule(
    kind: type[vpc.SecurityGroupIngressRule] | type[vpc.SecurityGroupEgressRule],
    name: str,
    group: Group,
    port: int,
    description: str,
    opts: pulumi.ResourceOptions,
    other: Group | None,
    cidr: str | None,
) -> None:
    kind(
        name,
        security_group_id=group,
        referenced_security_group_id=other,
        cidr_ipv4=cidr,
        ip_protocol="tcp",
        from_port=port,
        to_port=port,
        description=description,
        opts=opts,
    )
