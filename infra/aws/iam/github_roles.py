"""IAM roles that GitHub Actions workflows assume by OpenID Connect.

Invariant: CI gets its rights by GitHub's tokens of one repository, for one environment, and keeps no key.

What is merged deploys, by the one workflow for it and after GitHub's approval for the environment. A pull request of
the repository itself (a fork's gets no token) previews, in an environment of GitHub's that can ask for approval too: it
sees settings and no Secret, writes nothing, and decrypts the stack's own secrets, which its program is given. Only
merged code checks for drift, so that role may read the whole cluster.
"""

from __future__ import annotations

import json
from typing import Any

import pulumi
from pulumi_aws import eks, iam

from infra.aws.cluster.control_plane import ADMINISTRATOR, Cluster
from infra.aws.component import Component, document, rendered
from infra.aws.iam import deployer_policy, previewer_policy
from infra.aws.iam.boundary import DEPLOYER, DRIFT, PREVIEWER, session_seconds
from infra.catalog.github import OIDC_ISSUER
from infra.settings.aws.access import GitHub
from infra.settings.aws.models import Aws
from infra.settings.aws.naming import MAX_ROLE_NAME, named

AUDIENCE = "sts.amazonaws.com"
_POLICIES = "arn:aws:eks::aws:cluster-access-policy/"
VIEW = f"{_POLICIES}AmazonEKSViewPolicy"
"""Reads what runs, and no Secret. The API server refuses other reads; the provider then compares with its last state
(pulumi-kubernetes 4.25, provider.go: IsForbidden), as it does for Helm releases anyway."""
ADMIN_VIEW = f"{_POLICIES}AmazonEKSAdminViewPolicy"
"""Reads everything, Secrets too: there Helm keeps its releases, which a refresh reads (helm_release.go: Read)."""
CLUSTER_POLICIES = {PREVIEWER: VIEW, DRIFT: ADMIN_VIEW, DEPLOYER: ADMINISTRATOR}
WORKFLOW = ".github/workflows/up.yml"
"""The only workflow that deploys."""


def environment_of(stack: str, who: str) -> str:
    """The GitHub environment in which a job may take a role."""
    return {DEPLOYER: stack, DRIFT: f"{stack}-drift", PREVIEWER: f"{stack}-preview"}[who]


def claims(stack: str, github: GitHub, who: str) -> dict[str, str]:
    """Claims that the token of a workflow's run must have, as whole values.

    With an environment, ``sub`` names no branch and no workflow; so merged code is known by ``ref``, and who deploys by
    ``job_workflow_ref``, the reusable workflow at the branch: another workflow can't get a matching token. STS compares
    them since January 2026 (AWS, "validation of identity provider claims").

    ``sub`` has the ids of owner and repository where the repository was made, renamed or transferred since 15 July 2026
    (GitHub changelog of 2026-04-23, immutable subject claims); without ids in the settings it is the older form.
    """
    branch = f"refs/heads/{github.branch}"
    found = {"sub": f"repo:{_subject(github)}:environment:{environment_of(stack, who)}"}
    if github.repository_id:
        found["repository_id"] = str(github.repository_id)
    if who != PREVIEWER:
        found["ref"] = branch
    if who == DEPLOYER:
        found["job_workflow_ref"] = f"{github.repository}/{WORKFLOW}@{branch}"
    return found


def _subject(github: GitHub) -> str:
    """The repository as ``sub`` names it."""
    owner, _, name = github.repository.partition("/")
    if not github.repository_id:
        return f"{owner}/{name}"
    return f"{owner}@{github.owner_id}/{name}@{github.repository_id}"


def trust(provider_arn: str, stack: str, github: GitHub, who: str) -> dict[str, Any]:
    """The trust policy of a role of CI, by exact values of claims only."""
    wanted = {"aud": AUDIENCE, **claims(stack, github, who)}
    return document(
        {
            "Effect": "Allow",
            "Principal": {"Federated": provider_arn},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {f"{OIDC_ISSUER}:{claim}": value for claim, value in wanted.items()}},
        }
    )


class Access(Component):
    """IAM roles of previews, drift and `pulumi up` in CI; none without GitHub.

    The class's name is part of its Pulumi type, `devservers:aws:Access`.
    Made by an administrator's `pulumi up`: a deployer can't change these.
    """

    roles: dict[str, pulumi.Output[str]]
    """ARNs, for the workflow's settings."""

    def __init__(self, stack: str, aws: Aws, cluster: Cluster, opts: pulumi.ResourceOptions) -> None:
        super().__init__("access", opts)
        self._stack, self._aws = stack, aws
        self.roles = {}
        github = aws.access.github
        if github is not None:
            after = self._oidc_provider(github)
            read = {"settings": previewer_policy.settings(stack, aws)}
            write = {
                "network": deployer_policy.network(stack, aws),
                "services": deployer_policy.services(stack, aws),
                "backups": deployer_policy.backups(stack, aws),
                "roles": deployer_policy.roles(stack, aws),
            }
            self._role(PREVIEWER, github, read, cluster, after)
            self._role(DRIFT, github, read, cluster, after)
            self._role(DEPLOYER, github, read | write, cluster, after)
        self.register_outputs({"roles": self.roles})

    def _oidc_provider(self, github: GitHub) -> list[pulumi.Resource]:
        if github.provider_arn:
            return []
        made = iam.OpenIdConnectProvider(
            "github", url=f"https://{OIDC_ISSUER}", client_id_lists=[AUDIENCE], opts=self.options()
        )
        return [made]

    def _role(
        self,
        who: str,
        github: GitHub,
        policies: dict[str, dict[str, Any]],
        cluster: Cluster,
        after: list[pulumi.Resource],
    ) -> None:
        stack, aws = self._stack, self._aws
        # An account has at most one provider for an issuer, so its ARN is known before it is made.
        arn = github.provider_arn or f"arn:aws:iam::{aws.account_id}:oidc-provider/{OIDC_ISSUER}"
        role = iam.Role(
            who,
            name=named(stack, who, limit=MAX_ROLE_NAME),
            description=f"Of GitHub's {github.repository}, for {named(stack)}",
            assume_role_policy=json.dumps(trust(arn, stack, github, who)),
            max_session_duration=session_seconds(who),
            opts=self.options(after),
        )
        state = previewer_policy.state(stack, aws, write=who == DEPLOYER)
        for name, policy in (policies | ({"state": state} if state else {})).items():
            # Managed policies: inline ones are limited to 10 240 characters of a role, too few for a deployer.
            made = iam.Policy(
                f"{who}-{name}",
                name=named(stack, who, name, limit=MAX_ROLE_NAME),
                policy=rendered(policy),
                opts=self.options(),
            )
            iam.RolePolicyAttachment(f"{who}-{name}", role=role.name, policy_arn=made.arn, opts=self.options())
        entry = eks.AccessEntry(
            who,
            cluster_name=cluster.name,
            principal_arn=role.arn,
            type="STANDARD",
            opts=self.options([cluster.resource]),
        )
        eks.AccessPolicyAssociation(
            who,
            cluster_name=cluster.name,
            principal_arn=role.arn,
            policy_arn=CLUSTER_POLICIES[who],
            access_scope=eks.AccessPolicyAssociationAccessScopeArgs(type="cluster"),
            opts=self.options([entry]),
        )
        self.roles[who] = role.arn
