"""Prints the facts of a stack that a workflow needs, as NAME=VALUE lines for GITHUB_OUTPUT.

Invariant: it is all in the stack's committed file, so a workflow has no settings of its own that could disagree.

``python -m infra.deploy.aws.ci STACK ROLE`` runs it.
"""

from __future__ import annotations

import sys

from infra.aws.iam.boundary import CI, session_seconds
from infra.preview.simulation import settings_of
from infra.preview.stackfile import StackFileError, read
from infra.settings.aws import ecr_images
from infra.settings.aws.naming import MAX_ROLE_NAME, named
from infra.settings.problems import SettingsError


def facts(stack: str, role: str) -> dict[str, str]:
    """The values by name.

    Region, account, the role's ARN and for how long, the backend's URL ("" for Pulumi Cloud), and the registry that
    Docker must be logged in to ("" when the stack builds no images).

    Raises StackFileError and SettingsError.
    """
    aws = settings_of(read(stack)).aws
    if aws is None or role not in CI:
        raise StackFileError(
            f"stack {stack} has no role {role!r} on AWS", f"use one of {', '.join(CI)}, a stack on AWS"
        )
    bucket = aws.access.state_bucket
    return {
        "region": aws.region,
        "account": aws.account_id,
        "role": f"arn:aws:iam::{aws.account_id}:role/{named(stack, role, limit=MAX_ROLE_NAME)}",
        "seconds": str(session_seconds(role)),
        "registry": ecr_images.registry(aws) if aws.registry.build else "",
        "backend": f"s3://{bucket}?region={aws.region}&awssdk=v2" if bucket else "",
    }


def main() -> int:
    """Print NAME=VALUE lines; 1 with two lines on stderr when the stack can't be used."""
    try:
        found = facts(*sys.argv[1:3])
    except (StackFileError, SettingsError, TypeError) as error:
        print(f"{error}\n  python -m infra.deploy.aws.ci STACK ROLE", file=sys.stderr)
        return 1
    print("\n".join(f"{name}={value}" for name, value in found.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
