"""IAM policies of the previewer, which runs `pulumi preview` in CI.

Invariant: who previews an environment reads how it is made and Pulumi's state of it, and writes nothing anywhere.

Data it can't read, but for the stack's own secrets: the program it runs is given them. Pure. What `pulumi preview` and
`pulumi preview --refresh` ask AWS for, action by action. Most of these take no resource ("Resource types" in the
Service Authorization Reference), hence `*`: they tell of names and settings only.
"""

from __future__ import annotations

from typing import Any

from infra import PROJECT
from infra.aws import arns
from infra.aws.component import document
from infra.catalog.github import OIDC_ISSUER
from infra.settings.aws.models import Aws
from infra.settings.aws.naming import MAX_ROLE_NAME, named

_METADATA: dict[str, str] = {
    "autoscaling": "DescribeAutoScalingGroups DescribeTags",
    "backup": "DescribeBackupVault GetBackupPlan GetBackupSelection ListTags",
    "cloudwatch": "DescribeAlarms ListTagsForResource",
    "ec2": "DescribeAccountAttributes DescribeAddresses DescribeAddressesAttribute DescribeAvailabilityZones"
    " DescribeCapacityReservations DescribeFlowLogs DescribeImages DescribeInstanceTypeOfferings DescribeInstanceTypes"
    " DescribeInternetGateways"
    " DescribeLaunchTemplateVersions DescribeLaunchTemplates DescribeNatGateways DescribeNetworkAcls"
    " DescribeNetworkInterfaces DescribePlacementGroups DescribePrefixLists DescribeRegions DescribeRouteTables"
    " DescribeSecurityGroupRules DescribeSecurityGroups DescribeSubnets DescribeTags DescribeVpcAttribute"
    " DescribeVpcEndpointServices DescribeVpcEndpoints DescribeVpcs",
    "ecr": "DescribeImages DescribeRepositories GetLifecyclePolicy GetRepositoryPolicy ListTagsForResource",
    "eks": "DescribeAccessEntry DescribeAddon DescribeAddonConfiguration DescribeAddonVersions DescribeCluster"
    " DescribeClusterVersions DescribeNodegroup DescribePodIdentityAssociation DescribeUpdate ListAccessEntries"
    " ListAddons ListAssociatedAccessPolicies ListNodegroups ListPodIdentityAssociations ListTagsForResource",
    "elasticfilesystem": "DescribeBackupPolicy DescribeFileSystemPolicy DescribeFileSystems"
    " DescribeLifecycleConfiguration DescribeMountTargetSecurityGroups DescribeMountTargets"
    " DescribeReplicationConfigurations ListTagsForResource",
    "elasticloadbalancing": "DescribeListenerAttributes DescribeListeners DescribeLoadBalancerAttributes"
    " DescribeLoadBalancers DescribeTags DescribeTargetGroupAttributes DescribeTargetGroups DescribeTargetHealth",
    "kms": "DescribeKey GetKeyPolicy GetKeyRotationStatus ListAliases ListResourceTags",
    "logs": "DescribeLogGroups ListTagsForResource",
    "route53": "GetChange GetHostedZone ListHostedZones ListResourceRecordSets ListTagsForResource",
    "sns": "GetSubscriptionAttributes GetTopicAttributes ListSubscriptionsByTopic ListTagsForResource",
}
"""By IAM's service prefix."""
_IAM = (
    "iam:GetPolicy", "iam:GetPolicyVersion", "iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies",
    "iam:ListInstanceProfilesForRole", "iam:ListPolicyVersions", "iam:ListRolePolicies",
)  # fmt: skip
VIEW_BUDGET = "budgets:ViewBudget"
"""No operation: IAM's name for the right to all reading operations of AWS Budgets (Service Authorization Reference)."""


def own(aws: Aws, stack: str, kind: str) -> str:
    """Pattern of the environment's own IAM roles or policies, by their names."""
    return f"arn:aws:iam::{aws.account_id}:{kind}/{named(stack)}-*"


def settings(stack: str, aws: Aws) -> dict[str, Any]:
    """How everything is made."""
    return document(
        {
            "Sid": "Settings",
            "Effect": "Allow",
            "Action": [f"{prefix}:{action}" for prefix, actions in _METADATA.items() for action in actions.split()],
            "Resource": "*",
        },
        {
            "Sid": "OwnRoles",
            "Effect": "Allow",
            "Action": [*_IAM],
            "Resource": [own(aws, stack, "role"), own(aws, stack, "policy"), arns.managed("*")],
        },
        {
            "Sid": "GitHub",
            "Effect": "Allow",
            "Action": "iam:GetOpenIDConnectProvider",
            "Resource": f"arn:aws:iam::{aws.account_id}:oidc-provider/{OIDC_ISSUER}",
        },
        {
            "Sid": "Budget",
            "Effect": "Allow",
            "Action": [VIEW_BUDGET, "budgets:ListTagsForResource"],
            "Resource": budget(stack, aws),
        },
    )


def budget(stack: str, aws: Aws) -> str:
    """The ARN of the environment's budget."""
    return f"arn:aws:budgets::{aws.account_id}:budget/{named(stack, limit=MAX_ROLE_NAME)}"


def state(stack: str, aws: Aws, *, write: bool) -> dict[str, Any] | None:
    """Access to this stack's Pulumi state and its secrets' key.

    None where the state is in Pulumi Cloud.

    The paths are those of Pulumi's own backend (pulumi/pkg/backend/diy, 3.259: store.go, lock.go). A preview takes no
    lock and saves nothing (backend.go: Preview), so it only reads.
    """
    statements: list[dict[str, Any]] = []
    if aws.access.state_bucket:
        bucket = f"arn:aws:s3:::{aws.access.state_bucket}"
        of_stack = [f"{bucket}/.pulumi/{kind}/{PROJECT}/{stack}" for kind in ("stacks", "history", "backups")]
        # Beside STACK.json there are STACK.json.bak and STACK.json.attrs; never STACK-more.json.
        objects = [f"{of_stack[0]}.json*", *(f"{folder}/*" for folder in of_stack[1:])]
        locks = f"{bucket}/.pulumi/locks/organization/{PROJECT}/{stack}/*"
        read = [f"{bucket}/.pulumi/meta.yaml", *objects, locks]
        statements += [
            # HeadObject and GetObject are one right, and so are ListObjectsV2 and ListBucket.
            {"Sid": "State", "Effect": "Allow", "Action": "s3:GetObject", "Resource": read},
            {"Sid": "Stacks", "Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket},
        ]
        if write:
            change = ["s3:DeleteObject", "s3:PutObject"]
            statements.append({"Sid": "Write", "Effect": "Allow", "Action": change, "Resource": [locks, *objects]})
    if aws.access.state_key:
        statements.append(
            {
                "Sid": "Secrets",
                "Effect": "Allow",
                # GenerateDataKey: objects of a bucket that is encrypted with the same key, locks among them.
                "Action": ["kms:Decrypt", *(("kms:Encrypt", "kms:GenerateDataKey") if write else ())],
                "Resource": aws.access.state_key,
            }
        )
    return document(*statements) if statements else None
