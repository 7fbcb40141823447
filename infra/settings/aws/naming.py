"""Names of AWS resources, within AWS's length limits.

Invariant: one object's name depends on the stack and on what the object is called, and on nothing else.

So adding, removing or reordering others never renames it. What is too long for AWS is cut and told apart by a hash.
"""

from __future__ import annotations

import hashlib

MAX_LOAD_BALANCER_NAME = 32
"""Most characters of a load balancer's and of a target group's name (elasticloadbalancing API)."""
MAX_NODE_GROUP_NAME = 63
"""Of an EKS node group (eks:CreateNodegroup)."""
MAX_NODE_GROUP_PREFIX = MAX_NODE_GROUP_NAME - 26
"""Of the beginning of one: pulumi-aws puts 26 characters behind it (nodeGroupNamePrefix)."""
MAX_VAULT_NAME = 50
"""Of a vault of AWS Backup, and of its plans and selections."""
MAX_ROLE_NAME = 64
"""Of an IAM role."""
_HASH = 6


def named(stack: str, *parts: str, limit: int = MAX_NODE_GROUP_NAME) -> str:
    """The name `devservers-STACK-PARTS`, cut to ``limit`` characters with a hash.

    The same parts give the same name for ever, and other parts another one.
    """
    whole = "-".join(("devservers", stack, *parts))
    if len(whole) <= limit:
        return whole
    # The separator keeps ("a-b", "c") and ("a", "b-c") apart where the cut would make them alike.
    digest = hashlib.sha256("\0".join((stack, *parts)).encode()).hexdigest()[:_HASH]
    return f"{whole[: limit - _HASH - 1].rstrip('-')}-{digest}"
