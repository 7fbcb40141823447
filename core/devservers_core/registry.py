"""Image registries: which one an image names, and the Secret of a login."""

from __future__ import annotations

import hashlib
import re

from devservers_core.names import REGISTRY_SECRET_PREFIX

DOCKER_HUB = "docker.io"
_HUB_HOSTS = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")


def canonical_host(host: str) -> str:
    """The name under which a registry's logins are kept: lower case, one name for all hosts of Docker Hub."""
    host = host.lower()
    return DOCKER_HUB if host in _HUB_HOSTS else host


def registry_of(image: str) -> str:
    """The registry that an image reference names, as container runtimes read it: `debian:12` is Docker Hub's."""
    first, slash, _ = image.partition("/")
    named = slash and (any(char in first for char in ".:") or first == "localhost" or first != first.lower())
    return canonical_host(first) if named else DOCKER_HUB


def secret_name(registry: str) -> str:
    """The Secret of a registry in a person's namespace; the hash tells `a.b` from `a-b`."""
    slug = re.sub(r"[^a-z0-9]+", "-", registry).strip("-")[:40].rstrip("-")
    return f"{REGISTRY_SECRET_PREFIX}{slug}-{hashlib.sha256(registry.encode()).hexdigest()[:8]}"
