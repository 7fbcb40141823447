"""Messages for images that can't be pulled.

The kubelet alternates between messages for one failure; they give one text.
"""

from __future__ import annotations

import re

WAITING_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
     "RegistryUnavailable", "SignatureValidationFailed"}
)  # fmt: skip
"""Reasons of a waiting container that mean that its image can't be pulled (kubelet, pkg/kubelet/images)."""

_UNKNOWN = "can't be pulled"

# Order matters: registries say "not found" also beside "denied", and then permission is the likelier cause.
_CAUSES = (
    (r"InvalidImageName|couldn't parse image|invalid reference format", "isn't a valid name. Correct it."),
    (r"toomanyrequests|429|rate limit",
     "is refused by its registry for now: too many pulls. Wait, or use a mirror."),
    (r"unauthorized|401|403|denied|insufficient_scope|authorization failed|no basic auth",
     "doesn't exist or isn't public. Check the name; for a private registry run `devctl registry login`."),
    (r"no match for platform", "has no variant for the nodes' processor. Choose another tag."),
    (r"no space left", "doesn't fit on the node's disk. Tell an administrator, or choose a smaller one."),
    (r"not found|manifest unknown|404|name unknown", "doesn't exist. Check its name and tag."),
    (r"no such host|timeout|timed out|refused|network is unreachable|reset by peer|deadline|EOF|x509|tls",
     "can't be fetched: its registry doesn't answer. Check the registry's name, or ask an administrator."),
    (r"ErrImageNeverPull|never pull", "isn't on the node, and may not be pulled. Tell an administrator."),
)  # fmt: skip


def pull_failure_message(image: str, reason: str, text: str, previous: str | None) -> str:
    """The message for `image`, of which the kubelet reports `reason` and `text`.

    `previous` is the message already shown for this pod. It is kept when the kubelet reports less, because it
    alternates between the cause and "Back-off pulling image".
    """
    for pattern, predicate in _CAUSES:
        if re.search(pattern, f"{reason} {text.replace(image, '')}", re.I):
            return f"The image {image} {predicate} Kubernetes keeps retrying."
    start = f"The image {image} "
    if previous is not None and previous.startswith(start):
        return previous
    return f"{start}{_UNKNOWN}. Check its name and tag. Kubernetes keeps retrying."
