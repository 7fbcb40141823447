"""KMS keys of an environment, one for each kind of data.

Invariant: what is stored is encrypted under a key of the environment's own, one for each kind of thing.

Each key's policy names who may what. The account's own IAM policies may give its use away; beside that only the
services are named that must use a key by themselves: the logs service, and the role EC2 Auto Scaling starts nodes with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws

from infra.aws import arns
from infra.aws.component import Component, document, rendered
from infra.settings.aws.models import Aws
from infra.settings.aws.naming import named

USE = ("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext",
       "kms:ReEncryptFrom", "kms:ReEncryptTo")  # fmt: skip
"""Encrypting and decrypting."""
_ADMINISTER = (
    "kms:CancelKeyDeletion", "kms:CreateAlias", "kms:CreateGrant", "kms:DeleteAlias", "kms:DisableKey",
    "kms:DisableKeyRotation", "kms:EnableKey", "kms:EnableKeyRotation", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus",
    "kms:ListGrants", "kms:ListKeyPolicies", "kms:ListKeyRotations", "kms:ListResourceTags", "kms:PutKeyPolicy",
    "kms:RetireGrant", "kms:RevokeGrant", "kms:RotateKeyOnDemand", "kms:ScheduleKeyDeletion", "kms:TagResource",
    "kms:UntagResource", "kms:UpdateAlias", "kms:UpdateKeyDescription",
)  # fmt: skip
"""All else there is to do with a symmetric key: whoever's IAM policy allows it may, so nobody is locked out."""
KEPT_DAYS = 30
"""Days in which a deleted key can be restored, the most that KMS allows."""


class Security(Component):
    """The environment's KMS keys, each rotated every year, with an alias for people."""

    def __init__(self, stack: str, aws: Aws, opts: pulumi.ResourceOptions) -> None:
        super().__init__("security", opts)
        self._stack, self._aws = stack, aws
        self.cluster_key = self._key("cluster", "Secrets in the cluster")
        self.data_key = self._key("data", "Volumes of nodes and servers, shared files", *_for_volumes(aws))
        self.logs_key = self._key("logs", "Logs", _for_logs(aws, named(stack)))
        self.registry_key = self._key("registry", "Container images")
        self.alarms_key = self._key("alarms", "Alarms", for_alarms(aws, "kms:Decrypt", "kms:GenerateDataKey"))
        self.register_outputs({})

    def _key(self, name: str, what: str, *more: Mapping[str, Any]) -> pulumi_aws.kms.Key:
        administration = {
            "Sid": "AsIamSays",
            "Effect": "Allow",
            "Principal": {"AWS": arns.account(self._aws)},
            "Action": sorted((*_ADMINISTER, *USE)),
            "Resource": "*",
        }
        key = pulumi_aws.kms.Key(
            name,
            description=f"{what} of {named(self._stack)}",
            policy=rendered(document(administration, *more)),
            enable_key_rotation=True,
            deletion_window_in_days=KEPT_DAYS,
            opts=self.options(protect=self._aws.production),
        )
        # AWS finds keys by id; an alias moved elsewhere would change nothing that is encrypted already.
        pulumi_aws.kms.Alias(
            name, name=f"alias/{named(self._stack, name)}", target_key_id=key.key_id, opts=self.options()
        )
        return key


def _for_logs(aws: Aws, cluster: str) -> dict[str, Any]:
    """Rights of CloudWatch Logs, for the environment's log groups only."""
    return {
        "Sid": "Logs",
        "Effect": "Allow",
        "Principal": {"Service": f"logs.{aws.region}.amazonaws.com"},
        "Action": list(USE),
        "Resource": "*",
        "Condition": {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": arns.own_log_groups(aws, cluster)}},
    }


def _for_volumes(aws: Aws) -> tuple[dict[str, Any], ...]:
    """Rights of EC2 Auto Scaling's role, which starts nodes with encrypted disks.

    It has no IAM policy that could allow it, so the key must. It is named by a condition: as a principal the policy
    would be refused in an account that never had an Auto Scaling group, where the role isn't there yet.
    """
    role = f"arn:aws:iam::{aws.account_id}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    who = {"aws:PrincipalArn": role, "kms:CallerAccount": aws.account_id}
    common = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Resource": "*"}
    return (
        {"Sid": "NodesVolumes", **common, "Action": list(USE), "Condition": {"StringEquals": who}},
        {
            "Sid": "NodesVolumesGrants",
            **common,
            "Action": "kms:CreateGrant",
            "Condition": {"StringEquals": who, "Bool": {"kms:GrantIsForAWSResource": "true"}},
        },
    )


def for_alarms(aws: Aws, *actions: str, resource: str = "*") -> dict[str, Any]:
    """Rights of CloudWatch and AWS Budgets on the alarms' topic, for this account.

    With the key AWS keeps for SNS they could not (Amazon SNS Developer Guide, encryption at rest).
    """
    return {
        "Sid": "AlarmsAndBudgets",
        "Effect": "Allow",
        "Principal": {"Service": ["budgets.amazonaws.com", "cloudwatch.amazonaws.com"]},
        "Action": list(actions),
        "Resource": resource,
        "Condition": {"StringEquals": {"aws:SourceAccount": aws.account_id}},
    }
