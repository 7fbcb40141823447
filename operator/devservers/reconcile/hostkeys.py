"""Keeps a server's host key Secret as it must be: readable, matching, owned by whoever it is to outlive.

Invariant: a key that is usable is never changed, so nobody's known_hosts complains. The Secret is never
applied over; a wrong owner is mended by writing the very same key again, a broken key by making a new one.
"""

from __future__ import annotations

from devservers.api.devserver import DevServer
from devservers.api.user import DevServerUser
from devservers.build.hostkey import (
    PRIVATE_FILE,
    PUBLIC_FILE,
    host_key_name,
    host_key_secret,
    owner_reference,
    public_of,
)
from devservers.reconcile.ports import ApiError, Cluster, Json
from devservers.reconcile.sshkeys import KeyPair, decoded, generate, matches


async def ensure_host_key(cluster: Cluster, server: DevServer, user: DevServerUser, home: Json | None) -> str | None:
    """The server's public host key, after making or mending the Secret. home is the stored claim. Raises
    ApiError.
    """
    namespace, name = server.metadata.namespace, host_key_name(server.metadata.name)
    owner = owner_reference(server, home)
    secret = await _read(cluster, namespace, name)
    pair = _usable(secret) if secret is not None else None
    if secret is not None and not (pair is not None and _owned(secret, owner)):
        await cluster.delete("Secret", namespace, name, secret["metadata"]["uid"])
        secret = None
    if secret is None:
        pair = pair or generate()
        try:
            secret = await cluster.create(host_key_secret(server, user, pair.private, pair.public, owner))
        except ApiError as error:
            if not error.conflict:
                raise
            secret = await cluster.get("Secret", namespace, name)
    return public_of(secret)


async def _read(cluster: Cluster, namespace: str, name: str) -> Json | None:
    try:
        return await cluster.get("Secret", namespace, name)
    except ApiError as error:
        if not error.not_found:
            raise
        return None


def _usable(secret: Json) -> KeyPair | None:
    private, public = decoded(secret, PRIVATE_FILE), decoded(secret, PUBLIC_FILE)
    if private is None or public is None or not matches(private, public):
        return None
    return KeyPair(private, public)


def _owned(secret: Json, owner: Json) -> bool:
    return any(ref.get("uid") == owner["uid"] for ref in secret["metadata"].get("ownerReferences") or [])
