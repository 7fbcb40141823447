"""Keeps a server's host key Secret: readable, matching, with the right owner.

Invariant: a usable key never changes, so nobody's known_hosts complains. The Secret is never applied over; a wrong
owner is corrected by writing the same key again, a broken key is replaced, and the certificate is renewed beside it.
"""

from __future__ import annotations

from datetime import datetime

from devservers.api.devserver import DevServer
from devservers.api.user import DevServerUser
from devservers.build.host_key import host_key_name, host_key_secret, host_names, owner_reference, public_of
from devservers.reconcile.interfaces import Client, get_or_none
from devservers.reconcile.ssh.certificate_authority import HostCa
from devservers.reconcile.ssh.key_pairs import decode_entry, generate_key_pair, host_key_data, read_key_pair
from devservers_core.errors import ApiError
from devservers_core.names import HOST_CERTIFICATE_FILE
from devservers_core.types import Json


async def ensure_host_key(
    client: Client, ca: HostCa, server: DevServer, user: DevServerUser, home: Json | None, now: datetime
) -> str | None:
    """The server's public host key, after creating or correcting its Secret.

    `home` is the stored claim. Raises ApiError.
    """
    namespace, name = server.metadata.namespace, host_key_name(server.metadata.name)
    owner = owner_reference(server, home)
    secret = await get_or_none(client, "Secret", namespace, name)
    pair = read_key_pair(secret) if secret is not None else None
    certificate = decode_entry(secret, HOST_CERTIFICATE_FILE) if secret is not None else None
    if secret is not None and not (pair is not None and _is_owned_by(secret, owner)):
        await client.delete("Secret", namespace, name, secret["metadata"]["uid"])
        secret = None
    pair = pair or generate_key_pair()
    valid = await ca.certificate(pair.public, host_names(server, user), certificate, now)
    data = host_key_data(pair, valid)
    if secret is None:
        try:
            secret = await client.create(host_key_secret(server, user, data, owner))
        except ApiError as error:
            if not error.conflict:
                raise
            secret = await client.get("Secret", namespace, name)
    elif certificate != valid:
        # In place: the kubelet updates the pod's volume, and devserver-agent makes sshd read it.
        secret = await client.replace({**secret, "data": {**secret["data"], **data}})
    return public_of(secret)


def _is_owned_by(secret: Json, owner: Json) -> bool:
    return any(ref.get("uid") == owner["uid"] for ref in secret["metadata"].get("ownerReferences") or [])
