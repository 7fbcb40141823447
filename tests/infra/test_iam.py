"""The check of IAM documents itself: what it lets pass and what not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.infra.iam import faults

ALL = "*"


def document(action: Any, resource: Any = "arn:aws:s3:::state", **more: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource, **more}
    return {"Version": "2012-10-17", "Statement": [statement]}


@pytest.mark.parametrize(
    "action",
    ["ec2:DescribeInstances", "elasticloadbalancing:RegisterTargets", "kms:ReEncryptFrom", "eks:DescribeNodegroup",
     "logs:PutLogEvents", "sts:TagSession", "elasticfilesystem:DescribeMountTargets", "autoscaling:SetDesiredCapacity"],
)  # fmt: skip
def test_actions_that_exist(action: str) -> None:
    assert faults(document(action, ALL)) == []


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (document("ec2:DescribeInstance"), "does not exist"),
        (document("elbv2:RegisterTargets"), "does not exist"),
        (document("nothing:AtAll"), "does not exist"),
        (document("s3:*", ALL), "on every resource"),
        (document("ec2:Describe*", [ALL]), "on every resource"),
        (document("s3:Get*"), "is not one action"),
        (document("s3:GetObject", Principal=ALL), "anybody may"),
        (document("s3:GetObject", Principal={"AWS": [ALL]}), "anybody may"),
        (
            document("s3:GetObject", Principal=ALL, Condition={"StringEquals": {"kms:CallerAccount": ALL}}),
            "anybody may",
        ),
        ({"Version": "2008-10-17", "Statement": []}, "current version"),
        (document("s3:GetObject", NotResource=ALL), "keys nobody knows"),
        ({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject"}]}, "neither"),
    ],
)
def test_what_is_wrong(wrong: dict[str, Any], expected: str) -> None:
    assert expected in "\n".join(faults(wrong))


def test_somebody_named_by_a_condition() -> None:
    condition = {"StringEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/a"}}
    assert faults(document("kms:Decrypt", ALL, Principal={"AWS": ALL}, Condition=condition)) == []
