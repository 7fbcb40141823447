"""The network load balancer for SSH, with its DNS name.

Invariant: the one way in is SSH through this load balancer, from the networks the stack allows and no others.

It is Pulumi's own, not a Service's: its name and addresses stay when the cluster's controllers come and go, and it is
gone before the network on destroy. The pods behind it are registered by the bastion's TargetGroupBinding
(infra/platform/bastion).
"""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_aws import ec2, lb, route53

from infra.aws.cluster.control_plane import Cluster
from infra.aws.component import Component
from infra.aws.network.security_group_rules import allow_egress, allow_ingress
from infra.aws.network.vpc import Network
from infra.platform.bastion.target_group_binding import HEALTH_PATH, HEALTH_PORT, SSH_PORT
from infra.settings.aws.models import Aws
from infra.settings.aws.naming import MAX_LOAD_BALANCER_NAME, named

_TO_PODS = {"ssh": SSH_PORT, "health": HEALTH_PORT}


class Edge(Component):
    """The load balancer with target group, listener, DNS name and firewall rules."""

    target_group_arn: pulumi.Output[str]
    """For infra.platform.bastion.target_group_binding.target_group_binding()."""
    address: pulumi.Output[str]
    """What people type: the stack's hostname, or else the load balancer's."""
    name_servers: pulumi.Output[Sequence[str]] | None = None
    """Of the hosted zone when it is made here: what the parent domain must delegate to."""

    def __init__(self, stack: str, aws: Aws, network: Network, cluster: Cluster, opts: pulumi.ResourceOptions) -> None:
        super().__init__("edge", opts)
        edge = aws.edge
        group = self._security_group(stack, aws, network, cluster)
        self.load_balancer = self._load_balancer(stack, aws, network, group)
        self.target_group = self._target_group(stack, aws, network)
        self.target_group_arn = self.target_group.arn
        lb.Listener(
            "ssh",
            load_balancer_arn=self.load_balancer.arn,
            port=edge.port,
            protocol="TCP",
            tcp_idle_timeout_seconds=edge.idle_seconds,
            default_actions=[lb.ListenerDefaultActionArgs(type="forward", target_group_arn=self.target_group_arn)],
            opts=self.options(),
        )
        self.address = self._in_dns(aws)
        self.register_outputs({"address": self.address})

    def _security_group(self, stack: str, aws: Aws, network: Network, cluster: Cluster) -> ec2.SecurityGroup:
        """The allowlist. A load balancer made without a group can never get one."""
        port = aws.edge.port
        group = ec2.SecurityGroup(
            "edge",
            name_prefix=f"{named(stack, 'edge')}-",
            description="SSH from allowed networks to the bastion",
            vpc_id=network.vpc_id,
            tags={"Name": named(stack, "edge")},
            opts=self.options(),
        )
        for cidr in aws.edge.allowed_cidrs:
            allow_ingress(f"edge-from-{cidr}", group.id, port, "SSH", self.options(), cidr=cidr)
        # Naming the load balancer's group admits its traffic with clients' addresses kept, too: no client's network
        # need be let in to the nodes (AWS, Network Load Balancers, security groups).
        for name, number in _TO_PODS.items():
            pods, what = cluster.security_group_id, f"{name} of the bastion's pods"
            allow_egress(f"edge-to-{name}", group.id, number, what, self.options(), to=pods)
            what = f"{what}, from the load balancer"
            allow_ingress(f"cluster-from-edge-{name}", pods, number, what, self.options(), source=group.id)
        return group

    def _load_balancer(self, stack: str, aws: Aws, network: Network, group: ec2.SecurityGroup) -> lb.LoadBalancer:
        mappings = []
        for zone in aws.network.zones:
            address = None
            if aws.production:
                # Addresses that stay, for the firewalls of those who connect.
                address = ec2.Eip(
                    f"edge-{zone}", domain="vpc", tags={"Name": named(stack, "edge", zone)}, opts=self.options()
                )
            mappings.append(
                lb.LoadBalancerSubnetMappingArgs(
                    subnet_id=network.public_subnets[zone], allocation_id=address.id if address else None
                )
            )
        return lb.LoadBalancer(
            "edge",
            name=named(stack, "edge", limit=MAX_LOAD_BALANCER_NAME),
            load_balancer_type="network",
            internal=False,
            ip_address_type="ipv4",
            security_groups=[group.id],
            subnet_mappings=mappings,
            enable_cross_zone_load_balancing=True,
            enable_deletion_protection=aws.edge.deletion_protection or aws.production,
            opts=self.options(),
        )

    def _target_group(self, stack: str, aws: Aws, network: Network) -> lb.TargetGroup:
        drain = aws.edge.drain_seconds
        return lb.TargetGroup(
            "ssh",
            name=named(stack, "ssh", limit=MAX_LOAD_BALANCER_NAME),
            target_type="ip",
            ip_address_type="ipv4",
            port=SSH_PORT,
            protocol="TCP",
            vpc_id=network.vpc_id,
            # Off by default for IP targets; the audit log and sshd's penalties need to know who it is.
            preserve_client_ip="true",
            proxy_protocol_v2=False,
            # A pod that goes takes no new session and keeps those it has, until it or the time is up.
            connection_termination=False,
            deregistration_delay=drain,
            target_health_states=[
                lb.TargetGroupTargetHealthStateArgs(
                    enable_unhealthy_connection_termination=False, unhealthy_draining_interval=drain
                )
            ],
            # Twice five seconds: a pod that says it goes keeps its listener open for 15 s.
            health_check=lb.TargetGroupHealthCheckArgs(
                protocol="HTTP",
                port=str(HEALTH_PORT),
                path=HEALTH_PATH,
                matcher="200",
                interval=5,
                timeout=3,
                healthy_threshold=2,
                unhealthy_threshold=2,
            ),
            opts=self.options(),
        )

    def _in_dns(self, aws: Aws) -> pulumi.Output[str]:
        """The alias in the hosted zone, which is made when the stack gives no id."""
        hosted, hostname = aws.edge.hosted_zone, aws.edge.hostname
        if hosted is None:
            return self.load_balancer.dns_name
        zone_id: pulumi.Input[str] = hosted.id
        if not hosted.id:
            zone = route53.Zone(
                "names",
                name=hosted.name,
                comment="Names of development servers' environments",
                opts=self.options(protect=aws.production),
            )
            zone_id, self.name_servers = zone.zone_id, zone.name_servers
        if not hostname:
            return self.load_balancer.dns_name
        route53.Record(
            "ssh",
            zone_id=zone_id,
            name=hostname,
            type="A",
            aliases=[
                route53.RecordAliasArgs(
                    name=self.load_balancer.dns_name,
                    zone_id=self.load_balancer.zone_id,
                    evaluate_target_health=True,
                )
            ],
            opts=self.options(),
        )
        return pulumi.Output.from_input(hostname)
