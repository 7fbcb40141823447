"""The Secrets with which a user's images are pulled: one for each registry.

A user writes a registry's Secret and never reads one, so logins can't be merged into a single Secret. Its name follows
from the registry's, so nobody has to list them.
"""

from __future__ import annotations

import base64
import json

from devservers.api.user import DevServerUser
from devservers_core.names import (
    PLATFORM_REGISTRY_PREFIX,
    REGISTRIES,
    REGISTRY_ENTRY,
    SECRET_TYPE_REGISTRY,
)
from devservers_core.registry import secret_name
from devservers_core.types import Json

from .manifest import user_child


def platform_secret_name(name: str) -> str:
    """The name of a platform Secret's copy in a user's namespace."""
    return f"{PLATFORM_REGISTRY_PREFIX}{name}"


def empty_secret(user: DevServerUser, registry: str) -> Json:
    """The Secret of a registry without a login.

    With it the kubelet has nothing to complain about, and a pod that waits for its image gets it as soon as the user
    logs in.
    """
    return _secret(user, secret_name(registry), base64.b64encode(json.dumps({"auths": {}}).encode()).decode())


def platform_secret(user: DevServerUser, source: Json) -> Json:
    """A user's copy of a Secret of the platform."""
    return _secret(user, platform_secret_name(source["metadata"]["name"]), source["data"][REGISTRY_ENTRY])


def index(user: DevServerUser) -> Json:
    """The ConfigMap in which devctl notes the user's logins, since Secrets can't be read back."""
    return user_child(user, "v1", "ConfigMap", REGISTRIES)


def _secret(user: DevServerUser, name: str, config: str) -> Json:
    body = {"type": SECRET_TYPE_REGISTRY, "data": {REGISTRY_ENTRY: config}}
    return user_child(user, "v1", "Secret", name, body)
