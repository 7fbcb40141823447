"""The checker of IAM policy documents that other tests use."""

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
def test_faults_of_an_existing_action_are_empty(action: str) -> None:
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
def test_faults_of_a_bad_document_name_the_fault(wrong: dict[str, Any], expected: str) -> None:
    assert expected in "\n".join(faults(wrong))


def test_faults_of_a_principal_limited_by_condition_are_empty() -> None:
    condition = {"StringEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/a"}}
    assert faults(document("kms:Decrypt", ALL, Principal={"AWS": ALL}, Condition=condition)) == []
