"""Invariant: CI gets its rights from GitHub's word about one repository, for one environment, and keeps no key.

Whoever may merge to the deployed branch may deploy, after GitHub's own approval for the environment; whoever may open a
pull request in the repository itself (not from a fork, which gets no token) may preview.
"""

from __future__ import annotations

import json
from typing import Any

import pulumi
from pulumi_aws import eks, iam

from infra.aws import deploying, reading
from infra.aws.boundary import DEPLOYER, PREVIEWER
from infra.aws.cluster import ADMINISTRATOR, Cluster
from infra.aws.component import Component, document, rendered
from infra.aws.settings import Aws, GitHub
from infra.naming import ROLE, named

ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"
ADMIN_VIEW = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSAdminViewPolicy"
"""Reads everything, Secrets too: that is where Helm keeps its releases. It has no write verb, so the API server refuses
a preview's dry runs, and the provider then compares by itself (pulumi-kubernetes 4.25, provider.go: IsForbidden)."""
_HOURS = 4


def environment_of_previews(stack: str) -> str:
    """The GitHub environment of scheduled previews (drift), which are no pull request's."""
    return f"{stack}-preview"


def claims(stack: str, github: GitHub, who: str) -> dict[str, list[str]]:
    """What GitHub must say of a workflow's run, claim by claim, whole values (docs.github.com, OpenID Connect).

    ``ref`` beside ``sub``: with an environment, sub names no branch. STS compares it since January 2026 (AWS,
    "validation of identity provider claims").
    """
    of = f"repo:{github.repository}:"
    if who == DEPLOYER:
        return {"sub": [f"{of}environment:{stack}"], "ref": [f"refs/heads/{github.branch}"]}
    return {"sub": [f"{of}pull_request", f"{of}environment:{environment_of_previews(stack)}"]}


def trust(provider_arn: str, stack: str, github: GitHub, who: str) -> dict[str, Any]:
    """The trust policy of a role of CI: exact values only, so no other repository, branch or environment has it."""
    wanted = {"aud": [AUDIENCE], **claims(stack, github, who)}
    return document(
        {
            "Effect": "Allow",
            "Principal": {"Federated": provider_arn},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {f"{ISSUER}:{claim}": values for claim, values in wanted.items()}},
        }
    )


class Access(Component):
    """The roles of `pulumi preview` and `pulumi up` in CI, with their access to the cluster; none without GitHub.

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
            after = self._issuer(github)
            read = {"settings": reading.settings(stack, aws)}
            write = {
                "network": deploying.network(stack, aws),
                "services": deploying.services(stack, aws),
                "roles": deploying.roles(stack, aws),
            }
            self._role(PREVIEWER, github, read, cluster, ADMIN_VIEW, after)
            self._role(DEPLOYER, github, read | write, cluster, ADMINISTRATOR, after)
        self.register_outputs({"roles": self.roles})

    def _issuer(self, github: GitHub) -> list[pulumi.Resource]:
        if github.provider_arn:
            return []
        made = iam.OpenIdConnectProvider(
            "github", url=f"https://{ISSUER}", client_id_lists=[AUDIENCE], opts=self.options()
        )
        return [made]

    def _role(
        self,
        who: str,
        github: GitHub,
        policies: dict[str, dict[str, Any]],
        cluster: Cluster,
        in_cluster: str,
        after: list[pulumi.Resource],
    ) -> None:
        stack, aws = self._stack, self._aws
        # One provider in an account can be for an issuer, so its ARN is known before it is made.
        arn = github.provider_arn or f"arn:aws:iam::{aws.account_id}:oidc-provider/{ISSUER}"
        role = iam.Role(
            who,
            name=named(stack, who, limit=ROLE),
            description=f"Of GitHub's {github.repository}, for {named(stack)}",
            assume_role_policy=json.dumps(trust(arn, stack, github, who)),
            max_session_duration=_HOURS * 3600,
            opts=self.options(after),
        )
        state = reading.state(stack, aws, write=who == DEPLOYER)
        for name, policy in (policies | ({"state": state} if state else {})).items():
            # Managed ones: what a role may have inline is too little for a deployer's (10 240 characters).
            made = iam.Policy(
                f"{who}-{name}",
                name=named(stack, who, name, limit=ROLE),
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
            policy_arn=in_cluster,
            access_scope=eks.AccessPolicyAssociationAccessScopeArgs(type="cluster"),
            opts=self.options([entry]),
        )
        self.roles[who] = role.arn
