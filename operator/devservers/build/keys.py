"""The ConfigMap with SSH keys and account files that a server's pod mounts.

Invariant: every SSH key is exactly one line. The ConfigMap is mounted as a whole folder (never by subPath) where sshd
reads it, so a changed or removed key reaches a running server within the kubelet's sync time and restarts nothing. For
a suspended user it has no key and no principal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from devservers.api.devserver import DevServer
from devservers.api.user import DevServerUser, SshKey
from devservers_core.names import AGENT_PUBLIC_KEY_FILE, HOME_PATH, LOGIN
from devservers_core.ssh_keys import KEY_TYPE
from devservers_core.types import Json

from .manifest import child_metadata

_KEY_TYPE = re.compile(KEY_TYPE)

_PASSWD = (
    "root:x:0:0:root:/root:/bin/sh",
    "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin",
    "bin:x:2:2:bin:/bin:/usr/sbin/nologin",
    "sys:x:3:3:sys:/dev:/usr/sbin/nologin",
    "mail:x:8:8:mail:/var/mail:/usr/sbin/nologin",
    "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin",
    "_apt:x:42:65534::/nonexistent:/usr/sbin/nologin",
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
)

_GROUP = (
    "root:x:0:",
    "daemon:x:1:",
    "bin:x:2:",
    "sys:x:3:",
    "adm:x:4:",
    "tty:x:5:",
    "disk:x:6:",
    "mail:x:8:",
    "staff:x:50:",
    "users:x:100:",
    "www-data:x:33:",
    "video:x:44:",
    "nogroup:x:65534:",
)


def keys_name(server: str) -> str:
    """The ConfigMap's name."""
    return f"{server}-keys"


def authorized_keys(public_keys: Iterable[str], named: Iterable[SshKey] = ()) -> str:
    """The file's content: one public key a line, in order, without repeats.

    Other text is left out. sshd gets the end of a named key (sshd(8), `expiry-time`). Options before the key type
    (`command=...`) don't start with a key type, so they are left out too; a line break in an entry becomes a space, so
    that one entry can never add a second line. Of lines that differ in their comment only the first stays, with the
    earliest end of all.
    """
    lines: dict[tuple[str, ...], tuple[str, datetime | None]] = {}
    for key, end in [*((key, None) for key in public_keys), *((ssh_key.key, ssh_key.expires) for ssh_key in named)]:
        fields = "".join(char if char.isprintable() else " " for char in key).split()
        if len(fields) >= 2 and _KEY_TYPE.fullmatch(fields[0]):
            line, earliest = lines.get((fields[0], fields[1]), (" ".join(fields), None))
            lines[(fields[0], fields[1])] = line, min(earliest, end) if earliest and end else earliest or end
    return "".join(f"{_expiry(end)}{line}\n" for line, end in lines.values())


def _expiry(end: datetime | None) -> str:
    return f'expiry-time="{end.astimezone(UTC):%Y%m%d%H%M%SZ}" ' if end else ""


def keys_config_map(
    server: DevServer,
    user: DevServerUser,
    uid: int,
    user_ca_public: str,
    agent_public_key: str = "",
    replica_key: str = "",
) -> Json:
    """The ConfigMap `<server>-keys`.

    It has authorized_keys, user_ca.pub, principals, the passwd and group files and, where the operator exchanges with
    agents, the key that their plans are signed with. `replica_key` is the public half of the key between replicas.
    """
    owner = user.name
    suspended = user.spec.suspended
    own_keys = (*user.spec.ssh_public_keys, *([replica_key] if replica_key else []))
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": child_metadata(keys_name(server.name), server, user),
        "data": {
            "authorized_keys": "" if suspended else authorized_keys(own_keys, user.spec.ssh_keys),
            "principals": "" if suspended else f"{owner}\n",
            "user_ca.pub": authorized_keys(user_ca_public.splitlines()),
            "passwd": _lines(*_PASSWD, f"{LOGIN}:x:{uid}:{uid}:{owner}:{HOME_PATH}:/bin/sh"),
            "group": _lines(*_GROUP, f"{LOGIN}:x:{uid}:"),
            **({AGENT_PUBLIC_KEY_FILE: _lines(agent_public_key)} if agent_public_key else {}),
        },
    }


def _lines(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)
