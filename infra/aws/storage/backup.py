"""Daily copies of homes by AWS Backup: vault, plan, selection and role.

Invariant: AWS Backup's role reads volumes of this environment only, and deletes only copies that it made of them.

A home is an EBS volume that the CSI driver makes, so Pulumi doesn't know it. The selection goes by the tags that the
driver puts on every volume it makes: its own, and the environment's (infra/aws/addons/csi.py). Volumes of nodes carry
no tag of the driver. A copy is an EBS snapshot, encrypted with the key of its volume.
"""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_aws
from pulumi_aws import backup

from infra.aws import arns
from infra.aws.component import Component, document, rendered
from infra.aws.kms_keys import Security
from infra.aws.tags import STACK
from infra.settings.aws.models import Aws
from infra.settings.aws.naming import MAX_ROLE_NAME, MAX_VAULT_NAME, named

MADE_BY_EBS_DRIVER = "ebs.csi.aws.com/cluster"
"""A tag on every volume of the driver's, with the value `true` (its pkg/cloud/cloud.go, AwsEbsDriverTagKey)."""
SCHEDULE = "cron(0 2 * * ? *)"
"""Every night, in UTC."""
START_MINUTES, COMPLETION_MINUTES = 60, 480
"""How late a copy may start and be done."""


def vault_name(stack: str) -> str:
    """Of the vault, known before it is made."""
    return named(stack, "homes", limit=MAX_VAULT_NAME)


class Backup(Component):
    """The vault of the copies and the plan that fills it."""

    def __init__(self, stack: str, aws: Aws, security: Security, opts: pulumi.ResourceOptions) -> None:
        super().__init__("backup", opts)
        keep = aws.production
        vault = backup.Vault(
            "homes",
            name=vault_name(stack),
            kms_key_arn=security.data_key.arn,
            # AWS deletes no vault that has copies in it: outside production they go with the environment.
            force_destroy=not keep,
            opts=self.options(protect=keep, retain=keep),
        )
        plan = backup.Plan(
            "homes",
            name=named(stack, "homes", limit=MAX_VAULT_NAME),
            rules=[
                backup.PlanRuleArgs(
                    rule_name="daily",
                    target_vault_name=vault.name,
                    schedule=SCHEDULE,
                    start_window=START_MINUTES,
                    completion_window=COMPLETION_MINUTES,
                    lifecycle=backup.PlanRuleLifecycleArgs(delete_after=aws.home_backup_days),
                    # The role's right to delete goes by it.
                    recovery_point_tags={STACK: stack},
                )
            ],
            opts=self.options(),
        )
        role = pulumi_aws.iam.Role(
            "backup",
            name=named(stack, "backup", limit=MAX_ROLE_NAME),
            assume_role_policy=rendered(document(_trust(aws))),
            opts=self.options(),
        )
        rights = pulumi_aws.iam.RolePolicy(
            "backup",
            role=role.name,
            policy=rendered(document(*statements(stack, aws, security.data_key.arn))),
            opts=self.options(),
        )
        backup.Selection(
            "homes",
            name=named(stack, "homes", limit=MAX_VAULT_NAME),
            plan_id=plan.id,
            iam_role_arn=role.arn,
            resources=[arns.arn(aws, "ec2", "volume/*")],
            # Both must hold; of `selection_tags` one would be enough.
            conditions=[
                backup.SelectionConditionArgs(
                    string_equals=[
                        backup.SelectionConditionStringEqualArgs(key=f"aws:ResourceTag/{tag}", value=value)
                        for tag, value in ((STACK, stack), (MADE_BY_EBS_DRIVER, "true"))
                    ]
                )
            ],
            opts=self.options([rights]),
        )
        self.register_outputs({"vault": vault.name})


OF_AWS_BACKUP = {"Null": {"aws:ResourceTag/aws:backup:source-resource": "false"}}
"""The condition that AWS Backup made a snapshot: it sets this tag, and nobody else can set one that begins with aws:.

AWS's managed policies for AWS Backup name it in this way (AWSBackupServiceRolePolicyForRestores)."""


def _trust(aws: Aws) -> dict[str, Any]:
    """Who takes the role: AWS Backup, for this account only."""
    return {
        "Effect": "Allow",
        "Principal": {"Service": "backup.amazonaws.com"},
        "Action": ["sts:AssumeRole"],
        "Condition": {"StringEquals": {"aws:SourceAccount": aws.account_id}},
    }


def statements(stack: str, aws: Aws, key: pulumi.Input[str]) -> list[dict[str, Any]]:
    """Rights of AWS Backup's role: what a copy of an EBS volume takes, and its end.

    AWS's own AWSBackupServiceRolePolicyForBackup holds for every resource of the account that can be backed up. As
    there, tagging has no condition, because AWS Backup may tag a snapshot after it took it. So a tag of ours is not
    enough for a deletion.
    """
    ours = {"StringEquals": {f"aws:ResourceTag/{STACK}": stack}}
    volumes, snapshots = arns.arn(aws, "ec2", "volume/*"), f"arn:aws:ec2:{aws.region}::snapshot/*"
    look = ["ec2:DescribeSnapshots", "ec2:DescribeTags", "ec2:DescribeVolumes", "tag:GetResources"]
    return [
        {"Effect": "Allow", "Action": look, "Resource": "*"},
        {"Effect": "Allow", "Action": "ec2:CreateSnapshot", "Resource": volumes, "Condition": ours},
        {"Effect": "Allow", "Action": ["ec2:CreateSnapshot", "ec2:CreateTags"], "Resource": snapshots},
        {"Effect": "Allow", "Action": "ec2:DeleteSnapshot", "Resource": snapshots, "Condition": ours | OF_AWS_BACKUP},
        {
            "Effect": "Allow",
            "Action": "backup:DescribeBackupVault",
            "Resource": arns.arn(aws, "backup", f"backup-vault:{vault_name(stack)}"),
        },
        {"Effect": "Allow", "Action": "kms:DescribeKey", "Resource": key},
        {
            "Effect": "Allow",
            "Action": "kms:CreateGrant",
            "Resource": key,
            "Condition": {"Bool": {"kms:GrantIsForAWSResource": "true"}},
        },
    ]
