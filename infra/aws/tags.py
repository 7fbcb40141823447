"""Tags of every resource in an environment.

Invariant: whatever the environment has made says whose it is and who pays.
"""

from __future__ import annotations

from infra import PROJECT
from infra.settings.aws.models import Aws

STACK = "Stack"
"""The tag that rights are bound to."""


def tags_of(stack: str, aws: Aws) -> dict[str, str]:
    """Tags of everything in an environment."""
    return {
        "Project": PROJECT,
        STACK: stack,
        "Environment": aws.environment,
        "Owner": aws.owner,
        "CostCenter": aws.cost_center,
    }
