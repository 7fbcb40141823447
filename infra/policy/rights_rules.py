"""Policy rules about IAM and Kubernetes RBAC.

Invariant: nobody may do everything to everything; what is allowed is spelled out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from infra.catalog.github import OIDC_ISSUER
from infra.policy.rule import Rule
from infra.policy.subject import Stack, Subject, at, decoded, items

POLICY = "aws:iam/policy:Policy"
ROLE = "aws:iam/role:Role"
_POLICIES = {
    POLICY: ("policy",),
    "aws:iam/rolePolicy:RolePolicy": ("policy",),
    "aws:iam/userPolicy:UserPolicy": ("policy",),
    "aws:iam/groupPolicy:GroupPolicy": ("policy",),
    ROLE: ("assumeRolePolicy",),
}
FILE_SYSTEM_POLICY = "aws:efs/fileSystemPolicy:FileSystemPolicy"
_OF_RESOURCES = (
    "aws:ecr/repositoryPolicy:RepositoryPolicy",
    FILE_SYSTEM_POLICY,
    "aws:kms/key:Key",
    "aws:kms/keyPolicy:KeyPolicy",
    "aws:s3/bucketPolicy:BucketPolicy",
    "aws:sns/topic:Topic",
    "aws:sns/topicPolicy:TopicPolicy",
    "aws:sqs/queue:Queue",
    "aws:sqs/queuePolicy:QueuePolicy",
)
"""Policies that say who may do something with one resource; `*` is that resource there."""
_POLICIES |= dict.fromkeys(_OF_RESOURCES, ("policy",))
_ATTACHMENTS = ("aws:iam/rolePolicyAttachment:RolePolicyAttachment", "aws:iam/policyAttachment:PolicyAttachment")


def statements(subject: Subject) -> Iterator[Mapping[str, Any]]:
    """The known statements of a resource's policies, IAM's and its own."""
    texts = [subject.inputs.get(key) for key in _POLICIES.get(subject.type, ())]
    if subject.type == ROLE:
        texts += [at(each, "policy") for each in items(subject.at("inlinePolicies"))]
    for text in texts:
        yield from (each for each in items(at(decoded(text), "Statement")) if isinstance(each, Mapping))


def _anything(resource: object) -> bool:
    """Whether a resource in a policy is every one, of AWS or of a service."""
    text = str(resource)
    return text == "*" or (text.startswith("arn:") and text.split(":", 5)[-1] == "*")


def everybody(statement: Mapping[str, Any]) -> bool:
    """Whether a statement's principal is everybody."""
    return any(each == "*" or "*" in items(at(each, "AWS")) for each in items(statement.get("Principal")))


def boundaries(stack: Stack) -> set[str]:
    """URNs of permissions boundaries, which grant nothing by themselves."""
    limited = {need for role in stack.of(ROLE) if role.at("permissionsBoundary") for need in role.needs}
    granted = {need for attachment in stack.of(*_ATTACHMENTS) for need in attachment.needs}
    return {policy.urn for policy in stack.of(POLICY) if policy.urn in limited - granted}


def _wildcards(stack: Stack) -> Iterator[tuple[Subject, str]]:
    limits = boundaries(stack)
    for subject in stack.subjects:
        if subject.urn not in limits:
            yield from ((subject, message) for message in _too_much(subject))


def _too_much(subject: Subject) -> Iterator[str]:
    for statement in statements(subject):
        if statement.get("Effect") != "Allow":
            continue
        name = statement.get("Sid") or "a statement"
        if "NotAction" in statement or "NotResource" in statement:
            yield f"{name} allows all but what it lists"
        actions = [str(each) for each in items(statement.get("Action")) if "*" in str(each)]
        own = subject.type in _OF_RESOURCES
        if actions and not own and any(_anything(each) for each in items(statement.get("Resource"))):
            yield f"{name} allows {', '.join(actions)} on everything"
        if everybody(statement) and not statement.get("Condition"):
            yield f"{name} lets anybody in"


def _full_access(subject: Subject) -> Iterator[str]:
    arns = items(subject.at("policyArn")) if subject.type in _ATTACHMENTS else []
    arns += items(subject.at("managedPolicyArns")) if subject.type == ROLE else []
    for arn in arns:
        name = str(arn).rpartition("/")[2]
        if name in ("AdministratorAccess", "PowerUserAccess", "IAMFullAccess") or name.endswith("FullAccess"):
            yield f"it has {name}"


def _github_by_name(subject: Subject) -> Iterator[str]:
    """Roles that trust a repository's name alone.

    One id without the other is refused before: infra/settings/aws/checks.py.
    """
    if subject.type != ROLE:
        return
    for statement in statements(subject):
        condition = statement.get("Condition")
        for claims in condition.values() if isinstance(condition, Mapping) else ():
            sub = str(claims.get(f"{OIDC_ISSUER}:sub", "")) if isinstance(claims, Mapping) else ""
            if sub.startswith("repo:") and f"{OIDC_ISSUER}:repository_id" not in claims:
                yield f"it trusts {sub.split(':')[1]} by its name"


def _rbac(subject: Subject) -> Iterator[str]:
    if subject.kubernetes and subject.kind in ("Role", "ClusterRole"):
        for rule in items(subject.at("rules")):
            for key in ("apiGroups", "resources", "verbs", "nonResourceURLs"):
                if any("*" in str(each) for each in items(at(rule, key))):
                    yield f"it allows every one of {key}"
    if subject.kubernetes and subject.kind == "ClusterRoleBinding" and subject.at("roleRef.name") == "cluster-admin":
        yield "it makes somebody cluster-admin"


RULES = (
    Rule(
        "iam-no-wildcards",
        "No statement allows a wildcard of actions on a wildcard of resources.",
        "name the actions, or the resources, or both",
        check_stack=_wildcards,
    ),
    Rule(
        "iam-no-full-access",
        "No role has an AWS policy that allows everything of a service.",
        "write a policy with the actions that are used",
        "advisory",
        check=_full_access,
    ),
    Rule(
        "github-by-id",
        "Roles trust a GitHub repository by its id, not by its name alone.",
        "set access.github.ownerId and repositoryId (docs/guides/aws.md, 6): repositories made, renamed or transferred "
        "since 15 July 2026 get no role without them, and a name can become somebody else's",
        "advisory",
        check=_github_by_name,
    ),
    Rule(
        "rbac-no-wildcards",
        "Kubernetes roles name groups, resources and verbs.",
        "name what is used; bind no cluster-admin",
        check=_rbac,
    ),
)
