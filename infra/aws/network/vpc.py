"""The VPC: subnets, routes, NAT gateways, endpoints and flow logs.

Invariant: nodes have no public address, and nothing is made after a list that only AWS knows.

The subnets are infra/settings/aws/subnets.py's. What goes out goes through NAT, what goes to AWS stays inside where the
settings say so, and every connection is in the flow log.
"""

from __future__ import annotations

import pulumi
import pulumi_aws

from infra.aws import arns
from infra.aws.component import Component, document, rendered
from infra.aws.kms_keys import Security
from infra.aws.network.security_group_rules import allow_ingress
from infra.settings.aws.models import Aws
from infra.settings.aws.naming import MAX_ROLE_NAME, named
from infra.settings.aws.subnets import plan_subnets

ENDPOINTS = ("autoscaling", "ec2", "ecr.api", "ecr.dkr", "eks", "eks-auth", "elasticloadbalancing", "logs", "sts")
"""What nodes, add-ons and controllers call; com.amazonaws.REGION.NAME. Images' layers come by S3's gateway."""
INTERNET = "0.0.0.0/0"


class Network(Component):
    """The VPC with a private and a public subnet in each zone.

    Dictionaries are by zone, in the settings' order.
    """

    def __init__(self, stack: str, aws: Aws, security: Security, opts: pulumi.ResourceOptions) -> None:
        super().__init__("network", opts)
        self._stack, self._aws = stack, aws
        vpc = pulumi_aws.ec2.Vpc(
            "vpc",
            cidr_block=aws.network.cidr,
            # Mount targets and private endpoints are found by name.
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags=self._named(),
            opts=self.options(),
        )
        self.vpc_id: pulumi.Output[str] = vpc.id
        # Whoever forgets to choose a security group gets one that lets nothing in or out.
        pulumi_aws.ec2.DefaultSecurityGroup(
            "default", vpc_id=vpc.id, ingress=[], egress=[], tags=self._named("closed"), opts=self.options()
        )
        self._plan = plan_subnets(aws.network.cidr, aws.network.zones)
        private = {each.zone: self._subnet("private", each.zone, each.private) for each in self._plan}
        public = {each.zone: self._subnet("public", each.zone, each.public) for each in self._plan}
        self.private_subnets = {zone: subnet.id for zone, subnet in private.items()}
        self.public_subnets = {zone: subnet.id for zone, subnet in public.items()}
        tables = self._route_tables()
        self._endpoints(tables)
        self._flow_log(security)
        self.register_outputs({})

    def _named(self, *parts: str) -> dict[str, str]:
        return {"Name": named(self._stack, *parts)}

    def _subnet(self, kind: str, zone: str, cidr: str) -> pulumi_aws.ec2.Subnet:
        # Where load balancers go: AWS Load Balancer Controller finds subnets by these.
        role = "kubernetes.io/role/elb" if kind == "public" else "kubernetes.io/role/internal-elb"
        return pulumi_aws.ec2.Subnet(
            f"{kind}-{zone}",
            vpc_id=self.vpc_id,
            cidr_block=cidr,
            availability_zone=zone,
            map_public_ip_on_launch=False,
            tags={**self._named(kind, zone), role: "1"},
            opts=self.options(),
        )

    def _route_tables(self) -> dict[str, pulumi_aws.ec2.RouteTable]:
        """Internet gateway, NAT and routes; the private route tables by zone."""
        internet = pulumi_aws.ec2.InternetGateway(
            "internet", vpc_id=self.vpc_id, tags=self._named(), opts=self.options()
        )
        zones = [each.zone for each in self._plan]
        outside = self._table("public", self.public_subnets)
        route = pulumi_aws.ec2.Route(
            "public",
            route_table_id=outside.id,
            destination_cidr_block=INTERNET,
            gateway_id=internet.id,
            opts=self.options(),
        )
        mode = self._aws.network.nat
        shared = {"single": zones[0], "regional": "regional"}.get(mode)
        names = [shared] if shared else zones
        # A NAT gateway needs the internet gateway's route, and on destroy it must be deleted before that is.
        after: list[pulumi.Resource] = [internet, route]
        gateways = {name: self._nat(name, after) for name in names}
        self.nat_gateways = {name: gateway.id for name, gateway in gateways.items()}
        tables = {}
        for zone in zones:
            tables[zone] = self._table(f"private-{zone}", {zone: self.private_subnets[zone]})
            pulumi_aws.ec2.Route(
                f"private-{zone}",
                route_table_id=tables[zone].id,
                destination_cidr_block=INTERNET,
                nat_gateway_id=gateways[shared or zone].id,
                opts=self.options(),
            )
        return tables

    def _nat(self, name: str, after: list[pulumi.Resource]) -> pulumi_aws.ec2.NatGateway:
        if name == "regional":
            # Follows the VPC into every zone and takes addresses by itself (VPC User Guide, regional NAT gateways).
            return pulumi_aws.ec2.NatGateway(
                name,
                vpc_id=self.vpc_id,
                availability_mode="regional",
                connectivity_type="public",
                tags=self._named("nat"),
                opts=self.options(after),
            )
        address = pulumi_aws.ec2.Eip(
            f"nat-{name}", domain="vpc", tags=self._named("nat", name), opts=self.options(after)
        )
        return pulumi_aws.ec2.NatGateway(
            name,
            subnet_id=self.public_subnets[name],
            allocation_id=address.id,
            connectivity_type="public",
            tags=self._named("nat", name),
            opts=self.options(after),
        )

    def _table(self, name: str, subnets: dict[str, pulumi.Output[str]]) -> pulumi_aws.ec2.RouteTable:
        table = pulumi_aws.ec2.RouteTable(name, vpc_id=self.vpc_id, tags=self._named(name), opts=self.options())
        for zone, subnet in subnets.items():
            pulumi_aws.ec2.RouteTableAssociation(
                f"{name}-{zone}" if len(subnets) > 1 else name,
                route_table_id=table.id,
                subnet_id=subnet,
                opts=self.options(),
            )
        return table

    def _endpoints(self, tables: dict[str, pulumi_aws.ec2.RouteTable]) -> None:
        service = f"com.amazonaws.{self._aws.region}"
        pulumi_aws.ec2.VpcEndpoint(
            "s3",
            vpc_id=self.vpc_id,
            service_name=f"{service}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for table in tables.values()],
            tags=self._named("s3"),
            opts=self.options(),
        )
        if not self._aws.network.interface_endpoints:
            return
        group = pulumi_aws.ec2.SecurityGroup(
            "endpoints",
            vpc_id=self.vpc_id,
            name=named(self._stack, "endpoints"),
            description="AWS's own APIs, from within the VPC",
            tags=self._named("endpoints"),
            opts=self.options(),
        )
        within = self._aws.network.cidr
        allow_ingress("endpoints", group.id, 443, "HTTPS from the VPC", self.options(), cidr=within)
        for name in ENDPOINTS:
            pulumi_aws.ec2.VpcEndpoint(
                name,
                vpc_id=self.vpc_id,
                service_name=f"{service}.{name}",
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=list(self.private_subnets.values()),
                security_group_ids=[group.id],
                tags=self._named(name),
                opts=self.options(),
            )

    def _flow_log(self, security: Security) -> None:
        name = f"/aws/vpc/{named(self._stack)}/flow"
        group = pulumi_aws.cloudwatch.LogGroup(
            "flow",
            name=name,
            retention_in_days=self._aws.network.log_days,
            kms_key_id=security.logs_key.arn,
            opts=self.options(),
        )
        # Only for this account's own flow logs: the service itself acts for everybody's (VPC User Guide).
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": "vpc-flow-logs.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": self._aws.account_id}},
        }
        role = pulumi_aws.iam.Role(
            "flow",
            name=named(self._stack, "flow-log", limit=MAX_ROLE_NAME),
            assume_role_policy=rendered(document(trust)),
            opts=self.options(),
        )
        written = arns.arn(self._aws, "logs", f"log-group:{name}")
        policy = pulumi_aws.iam.RolePolicy(
            "flow",
            role=role.name,
            policy=rendered(
                document(
                    {
                        "Effect": "Allow",
                        "Action": ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
                        "Resource": [written, f"{written}:*"],
                    },
                    {
                        "Effect": "Allow",
                        "Action": "logs:DescribeLogGroups",
                        "Resource": arns.arn(self._aws, "logs", "log-group:*"),
                    },
                )
            ),
            opts=self.options(),
        )
        pulumi_aws.ec2.FlowLog(
            "flow",
            vpc_id=self.vpc_id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            max_aggregation_interval=600,
            tags=self._named("flow"),
            opts=self.options([policy]),
        )
