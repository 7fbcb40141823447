"""IAM roles of CI on AWS: who can assume them and what they may do."""

from __future__ import annotations

import fnmatch
import json
from typing import Any

import pytest

from infra.aws.iam import boundary, deployer_policy, github_roles, previewer_policy
from infra.preview.graph import Graph
from infra.settings.aws.access import GitHub
from tests.support.infra.aws_graph import ACCOUNT, DEV, PROD, REPOSITORY, by_name, part, recorded, settings
from tests.support.infra.iam import documents, faults, many

ISSUER = "token.actions.githubusercontent.com"
AWS = settings()


def takes(role: str, **claims: str) -> bool:
    """Whether the trust policy lets a token with these claims take a role (StringEquals, all keys)."""
    token = {"aud": "sts.amazonaws.com"} | claims
    (statement,) = role_trust(role)["Statement"]
    assert set(statement["Condition"]) == {"StringEquals"}, "no pattern decides who somebody is"
    wanted: dict[str, str] = statement["Condition"]["StringEquals"]
    return all(token.get(key.partition(":")[2]) == value for key, value in wanted.items())


def role_trust(role: str) -> dict[str, Any]:
    github = AWS.access.github
    assert github is not None
    return github_roles.trust("arn", "dev", github, role)


MAIN = "refs/heads/main"
OURS = f"repo:{REPOSITORY}"
PULL = "refs/pull/1/merge"
ROLES = ("deployer", "drift", "previewer")
UP = f"{REPOSITORY}/.github/workflows/up.yml"


@pytest.mark.parametrize(
    ("sub", "ref", "expected"),
    [
        (f"{OURS}:environment:dev", MAIN, "deployer"),
        (f"{OURS}:environment:dev", "refs/heads/feature", None),
        (f"{OURS}:environment:dev", "refs/tags/main", None),
        (f"{OURS}:environment:dev", PULL, None),
        (f"{OURS}:environment:prod", MAIN, None),
        (f"{OURS}:environment:dev-preview", PULL, "previewer"),
        (f"{OURS}:environment:prod-preview", PULL, None),
        (f"{OURS}:environment:dev-drift", MAIN, "drift"),
        (f"{OURS}:environment:dev-drift", PULL, None),
        # Of a job in no environment nobody can be asked to approve anything.
        (f"{OURS}:pull_request", PULL, None),
        (f"{OURS}:ref:{MAIN}", MAIN, None),
        (f"repo:{REPOSITORY}-fork:environment:dev", MAIN, None),
        (f"repo:{REPOSITORY}-fork:environment:dev-preview", PULL, None),
        ("repo:evil/platform:environment:dev", MAIN, None),
        ("repo:evil/platform:environment:dev-preview", PULL, None),
        (f"{OURS}:environment:dev:x", MAIN, None),
        ("repo:acme/*:environment:dev", MAIN, None),
        ("*", MAIN, None),
    ],
)
def test_role_trust_accepts_its_own_environments_token_only(sub: str, ref: str, expected: str | None) -> None:
    for role in ROLES:
        token = {"sub": sub, "ref": ref, "job_workflow_ref": f"{UP}@{ref}"}
        assert takes(role, **token) is (role == expected), role
        assert not takes(role, **token | {"aud": "https://github.com/evil"}), role


@pytest.mark.parametrize(
    ("workflow", "expected"),
    [
        (f"{UP}@{MAIN}", True),
        (f"{UP}@{PULL}", False),
        (f"{UP}@refs/heads/feature", False),
        (f"{REPOSITORY}/.github/workflows/preview.yml@{MAIN}", False),
        (f"evil/platform/.github/workflows/up.yml@{MAIN}", False),
        ("", False),
    ],
)
def test_deployer_trust_accepts_the_up_workflow_only(workflow: str, expected: bool) -> None:
    token = {"sub": f"{OURS}:environment:dev", "ref": MAIN}
    assert takes("deployer", **token, job_workflow_ref=workflow) is expected
    assert not takes("deployer", **token)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("sub", "repository_id", "expected"),
    [
        ("repo:acme@11/platform@22:environment:{}", "22", True),
        # Created before 15 July 2026, without immutable claims.
        ("repo:acme/platform:environment:{}", "22", False),
        # Somebody else's repository with our name, after ours was deleted or renamed.
        ("repo:acme@11/platform@23:environment:{}", "23", False),
        ("repo:acme@11/platform@22:environment:{}", "23", False),
        ("repo:acme@12/platform@22:environment:{}", "22", False),
        ("repo:acme@11/other@22:environment:{}", "22", False),
    ],
)
def test_role_trust_with_ids_accepts_the_one_repository(
    role: str, sub: str, repository_id: str, expected: bool
) -> None:
    github = GitHub(repository=REPOSITORY, owner_id=11, repository_id=22)
    (statement,) = github_roles.trust("arn", "dev", github, role)["Statement"]
    token = {
        "aud": "sts.amazonaws.com",
        "sub": sub.format(github_roles.environment_of("dev", role)),
        "repository_id": repository_id,
        "ref": MAIN,
        "job_workflow_ref": f"{UP}@{MAIN}",
    }
    wanted = statement["Condition"]["StringEquals"]
    assert all(token.get(key.partition(":")[2]) == value for key, value in wanted.items()) is expected


def test_role_trust_contains_no_pattern(dev: Graph) -> None:
    for node in part(dev, "Access").of("Role"):
        trust = json.loads(node.inputs["assumeRolePolicy"])
        assert faults(trust) == []
        assert "*" not in node.inputs["assumeRolePolicy"]
        (statement,) = trust["Statement"]
        assert statement["Principal"] == {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER}"}
        assert {f"{ISSUER}:aud", f"{ISSUER}:sub"} <= set(statement["Condition"]["StringEquals"])


def test_oidc_provider_is_created_once_or_given(dev: Graph) -> None:
    provider = part(dev, "Access").one("OpenIdConnectProvider").inputs
    assert (provider["url"], provider["clientIdLists"]) == (f"https://{ISSUER}", ["sts.amazonaws.com"])
    given = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER}"
    github = {"repository": REPOSITORY, "providerArn": given}
    graph = part(recorded(settings(access=DEV["access"] | {"github": github})), "Access")
    assert not graph.of("OpenIdConnectProvider")
    assert {node.name for node in graph.of("Role")} == set(ROLES)


def test_access_without_github_creates_no_role() -> None:
    assert not part(recorded(settings(access={})), "Access").of("Role")


def test_access_policies_are_valid_and_within_the_size_limit(dev: Graph, prod: Graph) -> None:
    for graph in (dev, prod):
        found = documents(part(graph, "Access"))
        assert len(found) >= 12
        for name, policy in found.items():
            assert faults(policy) == [], name
            if name.startswith("Policy "):
                # Managed policies: 6144 characters without white space (IAM quotas).
                assert len("".join(json.dumps(policy).split())) <= 6144, name


def allowed(policy: dict[str, Any], action: str, resource: str) -> bool:
    """Whether a policy may allow an action on a resource, whatever the conditions say."""

    def hit(statement: dict[str, Any]) -> bool:
        return action in many(statement["Action"]) and any(
            fnmatch.fnmatchcase(resource, pattern) for pattern in many(statement["Resource"])
        )

    denied = any(hit(each) for each in policy["Statement"] if each["Effect"] == "Deny")
    return not denied and any(hit(each) for each in policy["Statement"] if each["Effect"] == "Allow")


def test_previewer_policy_reads_settings_and_no_data() -> None:
    for statement in previewer_policy.settings("dev", AWS)["Statement"]:
        for action in many(statement["Action"]):
            name = action.partition(":")[2]
            assert name.startswith(("Describe", "Get", "List", "View")), action
            assert name not in {"GetObject", "GetSecretValue", "GetParameter", "GetLogEvents", "GetAuthorizationToken"}


def state(write: bool, **changes: Any) -> dict[str, Any]:
    found = previewer_policy.state("dev", settings(**changes), write=write)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("path", "read", "written"),
    [
        ("meta.yaml", True, False),
        ("stacks/devservers/dev.json", True, True),
        ("stacks/devservers/dev.json.bak", True, True),
        ("stacks/devservers/prod.json", False, False),
        ("stacks/devservers/dev-2.json", False, False),
        ("stacks/other/dev.json", False, False),
        ("history/devservers/dev/dev-1.history.json", True, True),
        ("locks/organization/devservers/dev/1.json", True, True),
        ("locks/organization/devservers/prod/1.json", False, False),
    ],
)
def test_state_policy_covers_this_stacks_files_only(path: str, read: bool, written: bool) -> None:
    where = f"arn:aws:s3:::acme-state/.pulumi/{path}"
    assert allowed(state(False), "s3:GetObject", where) is read
    for action in ("s3:PutObject", "s3:DeleteObject"):
        assert allowed(state(True), action, where) is written


def test_state_policy_of_the_previewer_is_read_only() -> None:
    actions = {action for statement in state(False)["Statement"] for action in many(statement["Action"])}
    assert actions == {"s3:GetObject", "s3:ListBucket", "kms:Decrypt"}


def test_state_policy_without_a_bucket_is_none() -> None:
    assert previewer_policy.state("dev", settings(access={"github": {"repository": REPOSITORY}}), write=True) is None


ROLE = f"arn:aws:iam::{ACCOUNT}:role/"
POLICY = f"arn:aws:iam::{ACCOUNT}:policy/"


@pytest.mark.parametrize(
    ("action", "resource", "expected"),
    [
        ("iam:CreateRole", f"{ROLE}devservers-dev-nodes", True),
        ("iam:CreateRole", f"{ROLE}devservers-prod-nodes", False),
        ("iam:CreateRole", f"{ROLE}admin", False),
        ("iam:PassRole", f"{ROLE}devservers-dev-nodes", True),
        ("iam:PassRole", f"{ROLE}admin", False),
        ("iam:PutRolePolicy", f"{ROLE}devservers-dev-deployer", False),
        ("iam:AttachRolePolicy", f"{ROLE}devservers-dev-deployer", False),
        ("iam:UpdateAssumeRolePolicy", f"{ROLE}devservers-dev-previewer", False),
        ("iam:AttachRolePolicy", f"{ROLE}devservers-dev-drift", False),
        ("iam:CreatePolicyVersion", f"{POLICY}devservers-dev-deployer-roles", False),
        ("iam:CreatePolicyVersion", f"{POLICY}devservers-dev-boundary", False),
        ("iam:DeletePolicy", f"{POLICY}devservers-dev-boundary", False),
        ("iam:DeleteRolePermissionsBoundary", f"{ROLE}devservers-dev-nodes", False),
        ("iam:PutRolePermissionsBoundary", f"{ROLE}devservers-dev-nodes", False),
        ("iam:CreateUser", "*", False),
    ],
)
def test_deployer_policy_prevents_privilege_escalation(action: str, resource: str, expected: bool) -> None:
    assert allowed(deployer_policy.roles("dev", AWS), action, resource) is expected


def test_deployer_policy_grants_rights_to_bounded_roles_only() -> None:
    statements = {each["Sid"]: each for each in deployer_policy.roles("dev", AWS)["Statement"]}
    bound = {"StringEquals": {"iam:PermissionsBoundary": boundary.arn("dev", AWS)}}
    assert statements["Rights"]["Condition"] == bound
    assert {"iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"} <= set(statements["Rights"]["Action"])
    assert "iam:PassedToService" in statements["Pass"]["Condition"]["StringEquals"]


VIA_SERVICE = {"aws:ViaAWSService": "true"}
"""Only what a service of AWS asks for on the deployer's behalf."""


def test_deployer_policy_deletes_by_name_or_tag_only() -> None:
    for policy in (
        deployer_policy.network("dev", AWS),
        deployer_policy.services("dev", AWS),
        deployer_policy.backups("dev", AWS),
    ):
        for statement in policy["Statement"]:
            destroys = [each for each in many(statement["Action"]) if ":Delete" in each]
            named = all("devservers-dev" in resource for resource in many(statement["Resource"]))
            if destroys and not named and statement["Effect"] == "Allow":
                condition = statement["Condition"]
                assert condition.get("StringEquals") or condition["Bool"] == VIA_SERVICE, statement["Sid"]


def test_deployer_policy_of_prod_denies_deletion_of_data() -> None:
    prod = deployer_policy.services("prod", settings(PROD))
    assert not allowed(prod, "eks:DeleteCluster", f"arn:aws:eks:eu-central-1:{ACCOUNT}:cluster/devservers-prod")
    assert not allowed(prod, "kms:ScheduleKeyDeletion", f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/1")
    vault = f"arn:aws:backup:eu-central-1:{ACCOUNT}:backup-vault:devservers-prod-homes"
    copies = deployer_policy.backups("prod", settings(PROD))
    assert allowed(copies, "backup:DeleteBackupVault", vault), "the denial holds for it all the same"
    for action in ("backup:DeleteBackupVault", "backup:DeleteRecoveryPoint"):
        assert action in boundary.deny_irreversible()["Action"]
        assert not allowed(prod, action, vault)
    dev = deployer_policy.services("dev", AWS)
    assert allowed(dev, "eks:DeleteCluster", f"arn:aws:eks:eu-central-1:{ACCOUNT}:cluster/devservers-dev")
    assert not allowed(dev, "eks:DeleteCluster", f"arn:aws:eks:eu-central-1:{ACCOUNT}:cluster/devservers-prod")


def test_role_sessions_have_a_maximum_duration(dev: Graph) -> None:
    for node in part(dev, "Access").of("Role"):
        assert node.inputs["maxSessionDuration"] == boundary.session_seconds(node.name) <= 4 * 3600


def test_role_access_entries_have_the_expected_cluster_policies(dev: Graph) -> None:
    graph = part(dev, "Access")
    entries = by_name(graph, "AccessPolicyAssociation")
    assert {name: node.inputs["policyArn"].rpartition("/")[2] for name, node in entries.items()} == {
        "deployer": "AmazonEKSClusterAdminPolicy",
        "drift": "AmazonEKSAdminViewPolicy",  # what Helm made is in Secrets; it runs merged code alone
        "previewer": "AmazonEKSViewPolicy",  # AWS: no Secrets, no write verb
    }
    assert {node.inputs["clusterName"] for node in graph.of("AccessEntry")} == {"devservers-dev"}


class TestBoundary:
    """Of every role but CI's own."""

    def test_boundary_is_on_every_role_but_cis(self, dev: Graph) -> None:
        for node in dev.of("Role"):
            expected = None if node.name in ROLES else f"arn:aws:iam::{ACCOUNT}:policy/devservers-dev-boundary"
            assert node.inputs.get("permissionsBoundary") == expected, node.name
            assert expected is None or any(urn.endswith("Policy::boundary") for urn in dev.before(node))
        assert len(dev.of("Role")) > len(ROLES)

    def test_boundary_allows_no_new_rights(self) -> None:
        first, *rest = [each for each in boundary.limits("dev", AWS)["Statement"] if each["Effect"] == "Allow"]
        assert {"iam:*", "organizations:*", "s3:*", "sts:AssumeRole"} <= set(first["NotAction"])
        assert first["Condition"] == {"StringEquals": {"aws:RequestedRegion": "eu-central-1"}}
        for statement in rest:
            for action in many(statement["Action"]):
                assert action.startswith(("iam:Get", "iam:List")) or action == "iam:CreateServiceLinkedRole"

    def test_boundary_denies_resources_of_other_stacks(self) -> None:
        (other,) = [each for each in boundary.limits("dev", AWS)["Statement"] if each.get("Sid") == "NotOfOtherStacks"]
        assert (other["Effect"], other["Action"], other["Resource"]) == ("Deny", "*", "*")
        tag = "aws:ResourceTag/Stack"
        # What has no such tag must stay allowed: most calls are about no resource that could carry one.
        assert other["Condition"] == {"StringNotEquals": {tag: "dev"}, "Null": {tag: "false"}}

    def test_boundary_contains_the_deployers_denials(self, dev: Graph, prod: Graph) -> None:
        for graph, stack, aws in ((dev, "dev", AWS), (prod, "prod", settings(PROD))):
            denied = [each for each in deployer_policy.services(stack, aws)["Statement"] if each["Effect"] == "Deny"]
            limit = json.loads(part(graph, "Boundary").one("Policy").inputs["policy"])["Statement"]
            assert bool(denied) is aws.production
            assert all(each in limit for each in denied)


def may(action: str) -> list[dict[str, Any]]:
    """What a deployer's policies say of an action, reading included."""
    policies = [
        previewer_policy.settings("dev", AWS),
        deployer_policy.network("dev", AWS),
        deployer_policy.services("dev", AWS),
        deployer_policy.backups("dev", AWS),
    ]
    return [
        each
        for policy in [*policies, deployer_policy.roles("dev", AWS)]
        for each in policy["Statement"]
        if each["Effect"] == "Allow" and action in many(each["Action"])
    ]


DEPENDENT = {
    "backup:CreateBackupSelection": "iam:PassRole",
    "backup:CreateBackupVault": "backup-storage:MountCapsule kms:CreateGrant kms:GenerateDataKey kms:Decrypt"
    " kms:RetireGrant kms:DescribeKey",
    "ec2:AuthorizeSecurityGroupIngress": "ec2:CreateTags",
    "ec2:CreateFlowLogs": "iam:PassRole",
    "ec2:CreateVpcEndpoint": "route53:AssociateVPCWithHostedZone",
    "ecr:CreateRepository": "kms:CreateGrant kms:DescribeKey kms:RetireGrant",
    "eks:AssociateEncryptionConfig": "kms:DescribeKey",
    "eks:CreateAddon": "iam:PassRole",
    "eks:CreateCluster": "iam:PassRole iam:CreateServiceLinkedRole kms:CreateGrant kms:DescribeKey ec2:DescribeSubnets"
    " ec2:DescribeSecurityGroups ec2:DescribeVpcs",
    "eks:CreateNodegroup": "iam:PassRole iam:CreateServiceLinkedRole ec2:RunInstances ec2:DescribeSubnets"
    " ec2:DescribeLaunchTemplateVersions",
    "eks:CreatePodIdentityAssociation": "iam:PassRole iam:GetRole",
    "elasticfilesystem:CreateFileSystem": "iam:CreateServiceLinkedRole kms:CreateGrant kms:DescribeKey"
    " kms:GenerateDataKeyWithoutPlaintext",
    "elasticfilesystem:CreateMountTarget": "ec2:CreateNetworkInterface ec2:DescribeSubnets"
    " ec2:DescribeNetworkInterfaces",
    "elasticfilesystem:DeleteMountTarget": "ec2:DeleteNetworkInterface",
    "elasticfilesystem:ModifyMountTargetSecurityGroups": "ec2:ModifyNetworkInterfaceAttribute",
    "elasticloadbalancing:CreateLoadBalancer": "iam:CreateServiceLinkedRole",
}
"""What AWS asks for besides, of who calls (Service Authorization Reference, "Dependent actions"; ECR's guide)."""


@pytest.mark.parametrize("action", DEPENDENT)
def test_deployer_policy_allows_dependent_actions(action: str) -> None:
    assert may(action), "nothing to depend on"
    for needed in DEPENDENT[action].split():
        assert may(needed), needed


def test_deployer_policy_tags_new_security_group_rules_only() -> None:
    rule = f"arn:aws:ec2:eu-central-1:{ACCOUNT}:security-group-rule/*"
    (tagging,) = [each for each in may("ec2:CreateTags") if each["Resource"] == rule]
    assert tagging["Condition"] == {
        "StringEquals": {"aws:RequestTag/Stack": "dev"},
        "Null": {"aws:ResourceTag/Stack": "true"},
    }


def test_deployer_policy_changes_this_stacks_network_interfaces_only() -> None:
    for action in ("ec2:DeleteNetworkInterface", "ec2:ModifyNetworkInterfaceAttribute", "ec2:CreateNetworkInterface"):
        for statement in may(action):
            condition = statement["Condition"]
            service = condition.get("Bool") == VIA_SERVICE
            assert service or condition["StringEquals"] == {"aws:ResourceTag/Stack": "dev"}, statement["Sid"]
