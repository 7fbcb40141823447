"""ARNs of an environment's resources, built from its settings.

Invariant: names of things in AWS are written out from the settings, never asked for.

So policies are whole in a preview. The stacks' partition is `aws`; China's and GovCloud's are not.
"""

from __future__ import annotations

from infra.settings.aws.models import Aws


def arn(aws: Aws, service: str, resource: str) -> str:
    """The ARN of something in the environment's region and account."""
    return f"arn:aws:{service}:{aws.region}:{aws.account_id}:{resource}"


def account(aws: Aws) -> str:
    """The account itself, as a principal: whom its own IAM policies allow it."""
    return f"arn:aws:iam::{aws.account_id}:root"


def managed(policy: str) -> str:
    """A policy that AWS keeps."""
    return f"arn:aws:iam::aws:policy/{policy}"


def own_log_groups(aws: Aws, cluster: str) -> str:
    """Pattern of the environment's log groups, like `/aws/eks/CLUSTER/cluster`."""
    return arn(aws, "logs", f"log-group:/aws/*/{cluster}/*")
