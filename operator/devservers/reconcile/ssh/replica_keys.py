"""Keeps the Secret with the key pair between the replicas of a distributed server.

Invariant: a usable key stays. It belongs to one DevServer object and goes with it.
"""

from __future__ import annotations

from devservers.api.devserver import DevServer
from devservers.api.user import DevServerUser
from devservers.build.distributed.replica_key import PRIVATE_FILE, PUBLIC_FILE, replica_key_name, replica_key_secret
from devservers.reconcile.interfaces import Client, get_or_none
from devservers.reconcile.ssh.key_pairs import decode_entry, encode_text, generate_key_pair, is_key_pair
from devservers_core.errors import ApiError
from devservers_core.types import Json


async def ensure_replica_key(client: Client, server: DevServer, user: DevServerUser) -> str:
    """The public key's line, after creating or correcting its Secret. Raises ApiError."""
    namespace, name = server.metadata.namespace, replica_key_name(server.name)
    secret = await get_or_none(client, "Secret", namespace, name)
    public = _public(secret, server) if secret is not None else None
    if public is not None:
        return public
    if secret is not None:
        await client.delete("Secret", namespace, name, secret["metadata"]["uid"])
    pair = generate_key_pair()
    data = {PRIVATE_FILE: encode_text(pair.private), PUBLIC_FILE: encode_text(pair.public + "\n")}
    try:
        await client.create(replica_key_secret(server, user, data))
    except ApiError as error:
        if not error.conflict:
            raise
        stored = _public(await client.get("Secret", namespace, name), server)
        if stored is None:
            raise
        return stored
    return pair.public


def _public(secret: Json, server: DevServer) -> str | None:
    """The public half of a Secret of this very server, None when it is another's or broken."""
    private, public = decode_entry(secret, PRIVATE_FILE), decode_entry(secret, PUBLIC_FILE)
    owned = any(ref.get("uid") == server.metadata.uid for ref in secret["metadata"].get("ownerReferences") or ())
    if not owned or private is None or public is None or not is_key_pair(private, public):
        return None
    return " ".join(public.split()[:2])
