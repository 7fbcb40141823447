"""Known-hosts files of servers: one file for each, with exactly one key.

Invariant: a key comes from status.sshHostKey over the authenticated API connection and from nowhere else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from devctl.config import HOST_SUFFIX, state_folder
from devctl.files import replace_file
from devservers_core.errors import TRANSPORT, CommandError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


def alias(context: Context, name: str) -> str:
    """The HostKeyAlias of a server: one for each cluster, namespace and server."""
    import hashlib

    cluster = hashlib.sha256(context.target.server.encode()).hexdigest()[:8]
    return f"{name}.{context.namespace}.{cluster}"


def host_name(context: Context, name: str) -> str:
    """The HostName of a server: one for each cluster, namespace and server.

    It is what %h and %C of a person's ControlPath are made of: with the same name for two servers, ssh would use the
    connection to one of them for the other, without looking at a key. Nothing resolves it; ProxyCommand connects.
    It stays short, because a ControlPath is a Unix socket's name of at most 107 bytes.
    """
    cluster = context.target.cluster
    parts = [cluster.get(key) for key in ("certificate-authority-data", "certificate-authority", "proxy-url")]
    return unique_host(name, context.target.server, context.namespace, *map(str, parts))


def unique_host(name: str, *place: str) -> str:
    """`NAME.HASH.devserver`, with a hash of what tells servers of that name apart."""
    import hashlib

    return f"{name}.{hashlib.sha256(chr(0).join(place).encode()).hexdigest()[:8]}{HOST_SUFFIX}"


def known_hosts_file(context: Context, name: str) -> Path:
    """The path of the file with this server's host key."""
    return state_folder(context.environ) / "known_hosts" / alias(context, name)


def host_key(server: Json) -> str:
    """The server's host key, type and body. Raises CommandError when there is none yet."""
    key = str((server.get("status") or {}).get("sshHostKey") or "")
    fields = key.split()
    if len(fields) < 2 or not key.isprintable():
        name = server["metadata"]["name"]
        raise CommandError(
            f"{name} has no SSH host key yet", f"`devctl describe {name}` shows how far it is", TRANSPORT
        )
    return " ".join(fields[:2])


def pin(context: Context, server: Json) -> Path:
    """Write the server's host key where ssh reads it. Raises CommandError."""
    name = server["metadata"]["name"]
    path, line = known_hosts_file(context, name), f"{alias(context, name)} {host_key(server)}\n"
    try:
        if path.is_file() and path.read_text() == line:
            return path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, line)
    except OSError as error:
        raise CommandError(
            f"the host key cannot be written: {error}", f"make {path.parent} writable", TRANSPORT
        ) from None
    return path
