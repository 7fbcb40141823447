"""The EKS control plane, its access entries and the Kubernetes provider.

Invariant: the control plane is reached from the VPC, and from elsewhere only by the networks the settings name.

pulumi-eks makes the control plane and nothing else; its wrappers for nodes and add-ons lack what GPUs need. Who may do
what in the cluster is said by access entries alone. Who creates it is its administrator: pulumi-eks always asks EKS for
that, EKS makes the entry, and one more for the same ARN would be refused (409, ResourceInUseException).
"""

from __future__ import annotations

import pulumi
import pulumi_aws
import pulumi_eks
import pulumi_kubernetes as kubernetes

from infra.aws import arns
from infra.aws.component import Component, document, rendered, trusted
from infra.aws.kms_keys import Security
from infra.aws.network.vpc import Network
from infra.settings.aws.models import Aws
from infra.settings.aws.naming import MAX_ROLE_NAME, named

LOGS = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
"""All there are (eks:UpdateClusterConfig)."""
ADMINISTRATOR = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"


class Cluster(Component):
    """The EKS cluster without nodes or add-ons, and the provider of what goes into it."""

    def __init__(
        self, stack: str, aws: Aws, network: Network, security: Security, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("cluster", opts)
        self.name = named(stack)
        self.arn = arns.arn(aws, "eks", f"cluster/{self.name}")
        # EKS would make it itself at the first line, without an end and without the key.
        logs = pulumi_aws.cloudwatch.LogGroup(
            "cluster",
            name=f"/aws/eks/{self.name}/cluster",
            retention_in_days=aws.kubernetes.log_days,
            kms_key_id=security.logs_key.arn,
            opts=self.options(),
        )
        role, rights = self._role(stack, security)
        public = aws.kubernetes.public_access_cidrs
        self.resource = pulumi_eks.Cluster(
            "cluster",
            name=self.name,
            version=aws.kubernetes.version,
            service_role=role,
            vpc_id=network.vpc_id,
            private_subnet_ids=list(network.private_subnets.values()),
            kubernetes_service_ip_address_range=aws.kubernetes.service_cidr,
            endpoint_private_access=True,
            endpoint_public_access=bool(public),
            # pulumi-eks refuses them while the public endpoint is off.
            public_access_cidrs=list(public) or None,
            authentication_mode=pulumi_eks.AuthenticationMode.API,
            enabled_cluster_log_types=LOGS,
            encryption_config_key_arn=security.cluster_key.arn,
            upgrade_policy=pulumi_aws.eks.ClusterUpgradePolicyArgs(support_type=aws.kubernetes.support),
            deletion_protection=aws.kubernetes.deletion_protection or aws.production,
            create_oidc_provider=False,
            create_instance_role=False,
            skip_default_node_group=True,
            # EKS's own cluster security group is on control plane and nodes: pods of both talk freely.
            skip_default_security_groups=True,
            # infra/aws/addons/eks_addons.py has them all, by version.
            bootstrap_self_managed_addons=False,
            use_default_vpc_cni=True,
            kube_proxy_addon_options=pulumi_eks.KubeProxyAddonOptionsArgs(enabled=False),
            coredns_addon_options=pulumi_eks.CoreDnsAddonOptionsArgs(enabled=False),
            cluster_tags={"Name": self.name},
            opts=self.options([logs, *rights], protect=aws.production),
        )
        self.security_group_id = self.resource.cluster_security_group_id
        self.kubeconfig = self.resource.kubeconfig_json
        entries = self._administrators(aws)
        self.provider = kubernetes.Provider(
            "cluster",
            kubeconfig=self.kubeconfig,
            # Else a new address or certificate would be another cluster, with every object made anew.
            cluster_identifier=self.arn,
            enable_server_side_apply=True,
            opts=self.options([*entries]),
        )
        self.register_outputs({})

    def _role(self, stack: str, security: Security) -> tuple[pulumi_aws.iam.Role, list[pulumi.Resource]]:
        """The control plane's own role, and what gives it its rights."""
        role = pulumi_aws.iam.Role(
            "cluster",
            name=named(stack, "cluster", limit=MAX_ROLE_NAME),
            assume_role_policy=trusted("eks.amazonaws.com", "sts:AssumeRole", "sts:TagSession"),
            opts=self.options(),
        )
        attached = pulumi_aws.iam.RolePolicyAttachment(
            "cluster", role=role.name, policy_arn=arns.managed("AmazonEKSClusterPolicy"), opts=self.options()
        )
        key = pulumi_aws.iam.RolePolicy(
            "cluster-key",
            role=role.name,
            policy=rendered(
                document(
                    {
                        "Effect": "Allow",
                        "Action": ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:ListGrants"],
                        "Resource": security.cluster_key.arn,
                    }
                )
            ),
            opts=self.options(),
        )
        return role, [attached, key]

    def _administrators(self, aws: Aws) -> list[pulumi.Resource]:
        made: list[pulumi.Resource] = []
        for principal in aws.access.administrators:
            if principal == aws.access.creator:
                continue
            name = principal.rpartition(":")[2]
            entry = pulumi_aws.eks.AccessEntry(
                name,
                cluster_name=self.name,
                principal_arn=principal,
                opts=self.options([self.resource]),
            )
            policy = pulumi_aws.eks.AccessPolicyAssociation(
                name,
                cluster_name=self.name,
                principal_arn=principal,
                policy_arn=ADMINISTRATOR,
                access_scope=pulumi_aws.eks.AccessPolicyAssociationAccessScopeArgs(type="cluster"),
                opts=self.options([entry]),
            )
            made += [entry, policy]
        return made
