"""The permissions boundary of every IAM role in an environment.

Invariant: no role of an environment can do more than its permissions boundary, whoever writes its policies.

A deployer makes roles and writes their policies; without a boundary it could make itself one that may do anything. So
it may only make roles that carry this one (infra/aws/iam/deployer_policy.py), and it may not change the boundary. A
boundary grants nothing: it is a limit on what other policies grant.
"""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_aws

from infra.aws.component import Component, document, rendered
from infra.settings.aws.models import Aws
from infra.settings.aws.naming import MAX_ROLE_NAME, named

EXCLUDED_ACTIONS = (
    "account:*",
    "aws-portal:*",
    "billing:*",
    "budgets:*",
    "iam:*",
    "organizations:*",
    "s3:*",
    "secretsmanager:*",
    "sso:*",
    "sts:AssumeRole",
    "sts:AssumeRoleWithSAML",
    "sts:AssumeRoleWithWebIdentity",
    "sts:GetFederationToken",
)
"""What makes rights or takes those of others, and S3, where Pulumi's state is; nothing on a node or in a pod has a use
for it."""
IRREVERSIBLE_ACTIONS = (
    "backup:DeleteBackupVault", "backup:DeleteRecoveryPoint", "ecr:DeleteRepository", "eks:DeleteCluster",
    "elasticfilesystem:DeleteFileSystem", "kms:ScheduleKeyDeletion",
    "route53:DeleteHostedZone",
)  # fmt: skip
"""What nobody gets back: in production neither a deployer nor any role it makes may."""
_IAM = ("iam:GetServerCertificate", "iam:ListServerCertificates")
"""What the AWS Load Balancer Controller reads of IAM."""
DEPLOYER, DRIFT, PREVIEWER = CI = "deployer", "drift", "previewer"
"""The roles of CI, which carry none: their policies say action by action what they may, IAM included."""
_TYPE = "aws:iam/role:Role"
_HOURS = {DEPLOYER: 4}


def session_seconds(who: str) -> int:
    """Duration of a CI role's session: a deployer's job's time-out, or an hour."""
    return _HOURS.get(who, 1) * 3600


def name(stack: str) -> str:
    """Of the policy."""
    return named(stack, "boundary", limit=MAX_ROLE_NAME)


def arn(stack: str, aws: Aws) -> str:
    """Of the policy, known before it is made."""
    return f"arn:aws:iam::{aws.account_id}:policy/{name(stack)}"


def limits(stack: str, aws: Aws) -> dict[str, Any]:
    """The most that any role of the environment may do, in its own region.

    Everything but :data:`EXCLUDED_ACTIONS`.

    Never to what is tagged as another stack's; what carries no tag is anybody's in the account, so environments that
    must not touch each other have accounts of their own.
    """
    tag = "aws:ResourceTag/Stack"
    statements: list[dict[str, Any]] = [
        {
            "Sid": "NothingThatMakesRights",
            "Effect": "Allow",
            # A list of all that is allowed would be every policy of every add-on once more.
            "NotAction": list(EXCLUDED_ACTIONS),
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:RequestedRegion": aws.region}},
        },
        {"Sid": "Certificates", "Effect": "Allow", "Action": list(_IAM), "Resource": "*"},
        {
            "Sid": "ServiceLinkedRoles",
            "Effect": "Allow",
            "Action": ["iam:CreateServiceLinkedRole", "iam:GetRole"],
            "Resource": f"arn:aws:iam::{aws.account_id}:role/aws-service-role/*",
        },
        {
            "Sid": "NotOfOtherStacks",
            "Effect": "Deny",
            "Action": "*",
            "Resource": "*",
            "Condition": {"StringNotEquals": {tag: stack}, "Null": {tag: "false"}},
        },
    ]
    if aws.production:
        statements.append(deny_irreversible())
    return document(*statements)


def deny_irreversible() -> dict[str, Any]:
    """Production's statement: :data:`IRREVERSIBLE_ACTIONS` is for administrators."""
    return {"Sid": "Never", "Effect": "Deny", "Action": list(IRREVERSIBLE_ACTIONS), "Resource": "*"}


class Boundary(Component):
    """The policy itself, before any role."""

    def __init__(self, stack: str, aws: Aws, opts: pulumi.ResourceOptions) -> None:
        super().__init__("boundary", opts)
        self.arn = arn(stack, aws)
        self.policy = pulumi_aws.iam.Policy(
            "boundary",
            name=name(stack),
            description=f"The most that roles of {named(stack)} may do",
            policy=rendered(limits(stack, aws)),
            opts=self.options(),
        )
        self.register_outputs({})

    def on_roles(self) -> pulumi.ResourceTransformation:
        """A transformation that gives every role of a component the boundary."""
        policy, limit = self.policy, self.arn

        def bounded(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
            # One with a URN is made already, and only looked up.
            if args.type_ != _TYPE or args.name in CI or args.opts.urn:
                return None
            options = pulumi.ResourceOptions.merge(args.opts, pulumi.ResourceOptions(depends_on=[policy]))
            return pulumi.ResourceTransformationResult({**args.props, "permissionsBoundary": limit}, options)

        return bounded
