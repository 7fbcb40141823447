"""Properties of all resources of an AWS environment."""

from __future__ import annotations

import fnmatch
from typing import Any

import pytest

from tests.support.infra import iam
from tests.support.infra.environment import NAME, REGION, graph, part

PRODUCTION: dict[str, Any] = {"environment": "prod"}


def test_environment_preview_registers_the_same_resources() -> None:
    assert set(graph(preview=True)) == set(graph())


def test_environment_resources_use_the_explicit_provider() -> None:
    for node in graph().values():
        if node.type.startswith(("aws:", "kubernetes:")):
            kind = node.type.partition(":")[0]
            assert f"pulumi:providers:{kind}::" in node.provider, node.name


def test_aws_provider_has_one_region_one_account_and_default_tags() -> None:
    provider = graph().one("aws").inputs
    assert provider["region"] == REGION
    assert provider["allowedAccountIds"] == '["111122223333"]'
    for tag in ("Environment", "Owner", "CostCenter", "Project", "Stack"):
        assert f'"{tag}"' in provider["defaultTags"]


def test_iam_policies_have_no_faults() -> None:
    found = iam.documents(graph())
    assert len(found) > 15
    assert {name: wrong for name, each in found.items() if (wrong := iam.faults(each))} == {}


def test_log_groups_have_retention_and_the_logs_key() -> None:
    allowed = next(
        statement["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
        for statement in iam.documents(graph())["Key logs.policy"]["Statement"]
        if statement["Sid"] == "Logs"
    )
    for group in graph().of("LogGroup"):
        assert group.inputs["retentionInDays"] > 0
        assert group.inputs["kmsKeyId"].endswith(":logs")
        name = group.inputs["name"]
        assert fnmatch.fnmatch(f"arn:aws:logs:{REGION}:111122223333:log-group:{name}", allowed), name


@pytest.mark.parametrize(("changes", "protected"), [({}, False), (PRODUCTION, True)])
def test_resources_with_data_are_protected_in_production(changes: dict[str, Any], protected: bool) -> None:
    made = graph(**changes)
    holds = [*part(made, "Security").of("Key"), *(node for node in made.values() if node.type == "eks:index:Cluster")]
    holds += [*made.of("FileSystem"), *made.of("Repository")]
    # Five keys, the cluster, the files, six image repositories.
    assert [node.protect for node in holds] == [protected] * 13


def test_role_trust_policies_name_aws_services_only() -> None:
    for name, document in iam.documents(graph()).items():
        if name.endswith("assumeRolePolicy"):
            for statement in document["Statement"]:
                assert all(who.endswith(".amazonaws.com") for who in iam.principals(statement)), name


def test_resource_names_contain_the_environments_name() -> None:
    for node in graph().values():
        for key in ("name", "nodeGroupNamePrefix"):
            value = node.inputs.get(key)
            if node.type.startswith("aws:") and isinstance(value, str):
                assert NAME in value, (node.type, value)
