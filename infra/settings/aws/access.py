"""Settings models of who may do what: administrators, CI's roles and Pulumi's state."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from devservers.api.fields import Matching
from infra.catalog.github import OIDC_ISSUER
from infra.settings.model import SettingsModel, allowed

_PRINCIPAL, _NO_PRINCIPAL = (
    r"arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[\w+=,.@/-]+",
    "not the ARN of an IAM role or user",
)
Arn = Annotated[str, Matching(f"^{_PRINCIPAL}$", _NO_PRINCIPAL, 2048)]


class GitHub(SettingsModel):
    """The repository whose workflows deploy, by OpenID Connect."""

    repository: Annotated[
        str,
        Matching(r"^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", "not a GitHub repository", 140),
        Field(json_schema_extra=allowed("owner/name")),
    ]
    """Whose workflows may take the roles."""
    owner_id: int = Field(default=0, ge=0, json_schema_extra=allowed("the owner's number on GitHub, or 0"))
    """With `repositoryId`: the roles trust this very repository, whoever gets its name later."""
    repository_id: int = Field(default=0, ge=0, json_schema_extra=allowed("the repository's number on GitHub, or 0"))
    """Both are in GitHub's word about repositories made, renamed or transferred since 15 July 2026, which get no role
    without them: `gh api repos/OWNER/NAME --jq '.owner.id,.id'`."""
    branch: Annotated[
        str,
        Matching(r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", "not a branch's name", 200),
        Field(json_schema_extra=allowed("a branch, like main")),
    ] = "main"
    """The only one that is deployed from."""
    provider_arn: Annotated[
        str,
        Matching(rf"^(arn:aws[a-z-]*:iam::[0-9]{{12}}:oidc-provider/{re.escape(OIDC_ISSUER)})?$",
                 "not the ARN of GitHub's OIDC provider", 256),
        Field(json_schema_extra=allowed("the account's OIDC provider for GitHub, or empty: it is made")),
    ] = ""  # fmt: skip
    """An account has one at most: name it where another stack made it."""


class Access(SettingsModel):
    """Who may do what in the account and the cluster."""

    administrators: Annotated[
        tuple[Arn, ...],
        Field(max_length=20, json_schema_extra=allowed("ARNs like arn:aws:iam::111122223333:role/platform-admins")),
    ] = ()
    """Cluster administrators, beside who creates the cluster."""
    creator: Annotated[
        str,
        Matching(f"^({_PRINCIPAL})?$", _NO_PRINCIPAL, 2048),
        Field(json_schema_extra=allowed("the ARN of who ran the first `pulumi up`, or empty")),
    ] = ""
    """Administrator by EKS's own doing: no entry is made for it, even where administrators names it."""
    github: GitHub | None = None
    """Makes the roles that `pulumi preview` (read only) and `pulumi up` take in CI."""
    state_bucket: Annotated[
        str,
        Matching(r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$", "not a bucket's name", 63),
        Field(json_schema_extra=allowed("the S3 bucket of Pulumi's state, or empty")),
    ] = ""
    """What the CI roles read and write; empty where the state is in Pulumi Cloud."""
    state_key: Annotated[
        str,
        Matching(r"^(arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[0-9a-f-]{36})?$", "not the ARN of a KMS key", 256),
        Field(json_schema_extra=allowed("the ARN of the KMS key of Pulumi's secrets (not of an alias), or empty")),
    ] = ""
    """What the CI roles decrypt the stack's secrets with; empty where Pulumi Cloud keeps them, or CI has no role."""
