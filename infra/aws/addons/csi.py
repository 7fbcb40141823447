"""Configuration and IAM rights of the EBS and EFS CSI drivers.

EBS volumes carry the environment's tags, which the provider's default tags don't reach: budgets and cost reports go by
them. An access point costs nothing; the file system that does is Pulumi's and tagged.
"""

from __future__ import annotations

from typing import Any

import pulumi

from infra.aws import arns
from infra.aws.kms_keys import USE
from infra.aws.tags import STACK, tags_of
from infra.settings.aws.models import SYSTEM_NODE_SELECTOR, Aws

_MADE_BY_EFS_DRIVER = "efs.csi.aws.com/cluster"
"""A tag on every access point of the driver's (its pkg/driver/controller.go)."""


def disks(stack: str, aws: Aws) -> dict[str, Any]:
    """The configuration of add-on `aws-ebs-csi-driver`."""
    return {
        "controller": {"nodeSelector": SYSTEM_NODE_SELECTOR, "extraVolumeTags": tags_of(stack, aws)},
        # On GPU nodes, too.
        "node": {"tolerateAllTaints": True},
    }


def files() -> dict[str, Any]:
    """The configuration of add-on `aws-efs-csi-driver`.

    No tags: the Helm chart takes `controller.tags`, the EKS add-on does not (aws/containers-roadmap issues 2124 and
    2755, open in 2026), and an add-on with a key its schema lacks is refused.
    """
    return {"controller": {"nodeSelector": SYSTEM_NODE_SELECTOR}}


def encrypting(key: pulumi.Input[str]) -> list[dict[str, Any]]:
    """Rights on the data key: EC2 uses it for volumes by a grant (docs/install)."""
    return [
        {"Effect": "Allow", "Action": list(USE), "Resource": key},
        {
            "Effect": "Allow",
            "Action": ["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"],
            "Resource": key,
            "Condition": {"Bool": {"kms:GrantIsForAWSResource": "true"}},
        },
    ]


def access_points(stack: str, aws: Aws) -> list[dict[str, Any]]:
    """Rights of the EFS driver's controller on this environment's access points.

    AWS's own AmazonEFSCSIDriverPolicy holds for every file system of the account.
    """
    made = {"Null": {f"aws:RequestTag/{_MADE_BY_EFS_DRIVER}": "false"}}
    systems, points = (arns.arn(aws, "elasticfilesystem", f"{kind}/*") for kind in ("file-system", "access-point"))
    return [
        {
            "Effect": "Allow",
            "Action": [
                "ec2:DescribeAvailabilityZones",
                "elasticfilesystem:DescribeAccessPoints",
                "elasticfilesystem:DescribeFileSystems",
                "elasticfilesystem:DescribeMountTargets",
            ],
            "Resource": "*",
        },
        {
            "Effect": "Allow",
            "Action": "elasticfilesystem:CreateAccessPoint",
            "Resource": systems,
            "Condition": {**made, "StringEquals": {f"aws:ResourceTag/{STACK}": stack}},
        },
        {
            "Effect": "Allow",
            "Action": "elasticfilesystem:TagResource",
            "Resource": points,
            "Condition": {
                **made,
                "StringEquals": {"elasticfilesystem:CreateAction": "CreateAccessPoint"},
                "ForAllValues:StringEquals": {"aws:TagKeys": _MADE_BY_EFS_DRIVER},
            },
        },
        {
            # EFS gives an access point no tag of its file system, so the driver's tag is all there is to go by.
            "Effect": "Allow",
            "Action": "elasticfilesystem:DeleteAccessPoint",
            "Resource": points,
            "Condition": {"Null": {f"aws:ResourceTag/{_MADE_BY_EFS_DRIVER}": "false"}},
        },
    ]
