"""The DevServerUsers of a stack.

Invariant: users are the first to go on destroy, while the operator is there to clean up after them.

It deletes their namespaces but for those with homes; those stay, and Pulumi never knew of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi

from devservers_core.names import ANNOTATION_STACK, API_VERSION, MANAGED_BY_STACK
from infra.platform.manifest import TIMEOUT_SECONDS, WAIT_FOR, Component, annotated
from infra.settings.stack import Settings, User


def manifest(user: User, stack: str) -> dict[str, Any]:
    """The DevServerUser of a user in a stack's configuration.

    `devctl user` refuses to change them and names the stack's file. Whoever takes them over by command owns
    spec.managedBy in the server-side apply's sense: the stack's next change of them is refused as a conflict.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": "DevServerUser",
        "metadata": {"name": user.username, "annotations": {ANNOTATION_STACK: stack}},
        "spec": {**user.to_dict(), "managedBy": MANAGED_BY_STACK},
    }


class Users(Component):
    """The users of a stack.

    Needs the operator where it has to wait for their namespaces.
    """

    def __init__(self, users: Sequence[User], settings: Settings, opts: pulumi.ResourceOptions) -> None:
        super().__init__("users", opts)
        for user in users:
            phase = "Suspended" if user.suspended else "Active"
            await_ = {
                WAIT_FOR: f"jsonpath={{.status.phase}}={phase}",
                TIMEOUT_SECONDS: str(settings.await_seconds),
            }
            self.add(annotated(manifest(user, pulumi.get_stack()), await_ if settings.await_ else {}))
        self.names = [user.username for user in users]
        self.register_outputs({"names": self.names})
