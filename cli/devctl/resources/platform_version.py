"""The version of the platform: an annotation on the stack's flavors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devctl.context import NO_CLUSTER
from devservers_core.client.paths import flavor_path
from devservers_core.errors import CommandError
from devservers_core.names import ANNOTATION_VERSION

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.client.api import ApiClient

TIMEOUT_SECONDS = 5.0
"""How long the API server may be silent: nobody waits longer for a version."""


def read(context: Context) -> str | None:
    """The platform's version; None when no cluster is configured, or it names no version.

    Raises CommandError, ApiError or UnreachableError when the platform does not answer.
    """
    try:
        target = context.target
    except CommandError as error:
        if error.remedy == NO_CLUSTER:
            return None
        raise
    from devservers_core.client.api import ApiClient

    return _of_flavors(ApiClient(target, context.environ, timeout=TIMEOUT_SECONDS, user_agent="devctl"))


def apart(client: str, platform: str) -> bool:
    """Whether two versions differ in more than the patch: MAJOR.MINOR.PATCH (https://semver.org)."""
    return client.split(".")[:2] != platform.split(".")[:2]


def _of_flavors(client: ApiClient) -> str | None:
    for flavor in client.get(flavor_path()).get("items") or []:
        version = (flavor["metadata"].get("annotations") or {}).get(ANNOTATION_VERSION)
        if version:
            return str(version)
    return None
