"""KMS keys: rotation, aliases and key policies."""

from __future__ import annotations

from typing import Any

from tests.support.infra import iam
from tests.support.infra.environment import ACCOUNT, graph, part

KEYS = ("alarms", "cluster", "data", "logs", "registry")


def statements(key: str) -> dict[str, dict[str, Any]]:
    document = iam.documents(graph())[f"Key {key}.policy"]
    return {statement["Sid"]: statement for statement in document["Statement"]}


def test_kms_keys_are_rotated_and_recoverable() -> None:
    keys = part(graph(), "Security").of("Key")
    assert tuple(key.name for key in keys) == KEYS
    for key in keys:
        assert key.inputs["enableKeyRotation"] is True
        assert key.inputs["deletionWindowInDays"] == 30


def test_kms_keys_have_aliases() -> None:
    aliases = part(graph(), "Security").of("Alias")
    assert [alias.inputs["name"] for alias in aliases] == [f"alias/devservers-dev-{key}" for key in KEYS]


def test_key_policy_keeps_the_account_in_control() -> None:
    for key in KEYS:
        statement = statements(key)["AsIamSays"]
        assert statement["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
        assert {"kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:CreateGrant"} <= set(statement["Action"])


def test_key_policy_of_cluster_and_registry_names_the_account_only() -> None:
    assert set(statements("cluster")) == set(statements("registry")) == {"AsIamSays"}


def test_key_policy_of_logs_covers_this_environments_log_groups() -> None:
    statement = statements("logs")["Logs"]
    assert statement["Principal"] == {"Service": "logs.eu-central-1.amazonaws.com"}
    assert statement["Condition"] == {
        "ArnLike": {
            "kms:EncryptionContext:aws:logs:arn": (
                f"arn:aws:logs:eu-central-1:{ACCOUNT}:log-group:/aws/*/devservers-dev/*"
            )
        }
    }


def test_key_policy_of_data_grants_auto_scaling_for_aws_resources_only() -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    found = statements("data")
    for sid in ("NodesVolumes", "NodesVolumesGrants"):
        assert found[sid]["Condition"]["StringEquals"]["aws:PrincipalArn"] == role
    assert found["NodesVolumesGrants"]["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}
    assert "kms:CreateGrant" not in found["NodesVolumes"]["Action"]


def test_key_policies_contain_no_wildcard_action() -> None:
    for key in KEYS:
        for statement in statements(key).values():
            assert not any("*" in action for action in iam.many(statement["Action"]))
