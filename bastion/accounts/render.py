"""Renders accounts, keys and allowed tunnels as the files that sshd reads.

Invariant: one person's mistake never changes another person's files, and nothing untrusted is written as it came.

Pure: DevServerUsers and DevServers as the API server gives them, in; the files of a generation, out. The API
server has checked most of this when the objects were made. It is checked again, because a CRD may have been
weaker once, and because a file that sshd trusts is the wrong place to find that out.

A key that two people list opens both accounts: a login names its account, and each list is the authority over its
own. Taking the key from both would let anyone lock another out, by listing the other's public key; taking it from
the later one would need a memory that replicas do not share. Every such key is among the problems.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bastion.paths import ACCESS_FILE, GROUP, GROUP_ID
from devservers_core.grammar import SERVER_NAME, SERVER_NAME_MAX, USER_NAME, USER_NAME_MAX, fits
from devservers_core.names import (
    CLUSTER_DOMAIN,
    FIRST_UID,
    MAX_KEYS_PER_LIST,
    SSH_PORT,
    host_of,
    is_reserved_user,
    user_of,
)
from devservers_core.ssh_keys import InvalidKeyError, PublicKey, parse
from devservers_core.types import Json

RESERVED_IDS = frozenset({65534, 65535})
"""nobody, and what a 16-bit -1 becomes."""
LAST_UID = 2**31 - 2
MAX_KEYS = 2 * MAX_KEYS_PER_LIST
MAX_SERVERS = 1000
"""sshd takes 4096 permitopen for a key and refuses the whole line beyond (auth-options.c)."""
MAX_TUNNELS = 4096
"""Of one person, keys times servers: each is a piece of text in a small volume that everybody shares."""
NEVER = datetime.max.replace(tzinfo=UTC)
LONG_AGO = datetime(1970, 1, 2, tzinfo=UTC)
"""An end before this one counts as this one: sshd reads no time before its clock's first second."""
HOME = "/"
"""Nothing of a person is kept on the bastion; sshd complains of a home that isn't there."""


@dataclass(frozen=True)
class Account:
    """A user who may log in, with keys and their ends, and servers to tunnel to."""

    name: str
    uid: int
    keys: Mapping[PublicKey, datetime | None] = field(default_factory=dict)
    servers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rendered:
    """The files of a generation by their path in it, how many accounts they hold, and what was left out and why."""

    files: Mapping[str, str]
    accounts: int
    problems: tuple[str, ...] = ()


def render(users: Iterable[Json], servers: Iterable[Json], shell: str, domain: str = CLUSTER_DOMAIN) -> Rendered:
    """The files for these people.

    `shell` is what sshd starts for them, `domain` the cluster's DNS domain.
    """
    problems: list[str] = []
    accounts = sorted(_accounts(users, servers, problems), key=lambda account: account.name)
    _name_shared_keys(accounts, problems)
    names = [account.name for account in accounts]
    files = {
        "passwd": "".join(f"{a.name}:x:{a.uid}:{a.uid}::{HOME}:{shell}\n" for a in accounts),
        "shadow": "".join(f"{a.name}:*:19000:0:99999:7:::\n" for a in accounts),
        "group": f"{GROUP}:x:{GROUP_ID}:{','.join(names)}\n" + "".join(f"{a.name}:x:{a.uid}:\n" for a in accounts),
        ACCESS_FILE: json.dumps({a.name: _access(a) for a in accounts}, indent=0, sort_keys=True) + "\n",
        **{f"keys/{a.name}": _authorized_keys(a, domain) for a in accounts},
    }
    return Rendered(files, len(accounts), tuple(problems))


def _accounts(users: Iterable[Json], servers: Iterable[Json], problems: list[str]) -> Iterator[Account]:
    tunnels = _servers(servers)
    taken: dict[int, str] = {}
    # The elder of two with one uid keeps it: whoever comes later can't push anybody out.
    for user in sorted(users, key=_age):
        metadata, spec = _object(user, "metadata"), _object(user, "spec")
        name, uid = metadata.get("name"), _object(user, "status").get("uid")
        if reason := _rejection(name, uid, metadata, spec):
            problems.append(f"{_quoted(name)} has no account: {reason}")
            continue
        assert isinstance(name, str), "or it would have been rejected"
        assert isinstance(uid, int), "or it would have been rejected"
        if uid in taken:
            problems.append(f"{name} has no account: uid {uid} is {taken[uid]}'s")
        else:
            taken[uid] = name
            keys = {} if spec.get("suspended") else dict(_keys(name, spec, problems))
            yield Account(name, uid, keys, _tunnels(name, len(keys), sorted(tunnels[name]), problems))


def _tunnels(name: str, keys: int, servers: list[str], problems: list[str]) -> tuple[str, ...]:
    """The servers that every key of theirs may reach."""
    most = min(MAX_SERVERS, MAX_TUNNELS // max(keys, 1))
    if len(servers) > most:
        problems.append(
            f"{name} has {keys} keys and {len(servers)} servers: no tunnel leads to the last {len(servers) - most}, "
            f"from {_quoted(servers[most])} on"
        )
    return tuple(servers[:most])


def _rejection(name: object, uid: object, metadata: Json, spec: Json) -> str | None:
    if not isinstance(name, str) or not fits(name, USER_NAME, USER_NAME_MAX):
        return "this is not a user name"
    if is_reserved_user(name) or name == GROUP:
        return "this name is reserved"
    if spec.get("username") != name:
        return "spec.username is another name"
    if metadata.get("deletionTimestamp"):
        return "the user is being deleted"
    if uid is None:
        return "the operator has not given it a uid yet"
    if not isinstance(uid, int) or isinstance(uid, bool) or not FIRST_UID <= uid <= LAST_UID or uid in RESERVED_IDS:
        return f"uid {_quoted(uid)} is not a person's"
    return None


def _keys(name: str, spec: Json, problems: list[str]) -> Iterator[tuple[PublicKey, datetime | None]]:
    ends: dict[PublicKey, datetime] = {}
    for line, label, expires in _listed(spec):
        try:
            key, end = parse(line), _end(expires)
        except (InvalidKeyError, ValueError) as error:
            problems.append(f"{name}'s key {label} is left out: {error}")
            continue
        ends[key] = min(ends.get(key, NEVER), end)
    if len(ends) > MAX_KEYS:
        problems.append(f"{name} has {len(ends)} keys, the first {MAX_KEYS} count")
    for key, end in list(ends.items())[:MAX_KEYS]:
        yield key, None if end == NEVER else end


def _listed(spec: Json) -> Iterator[tuple[object, str, object]]:
    for number, line in enumerate(_items(spec, "sshPublicKeys"), 1):
        yield line, f"number {number}", None
    for number, entry in enumerate(_items(spec, "sshKeys"), 1):
        fields: Json = entry if isinstance(entry, dict) else {}
        yield fields.get("key"), _quoted(fields.get("name", number)), fields.get("expires")


def _end(expires: object) -> datetime:
    if expires is None:
        return NEVER
    if not isinstance(expires, str):
        raise ValueError("its end is not a time")
    try:
        end = datetime.fromisoformat(expires)
        if end.tzinfo is None:
            raise ValueError("without a zone")
        return max(end.astimezone(UTC).replace(microsecond=0), LONG_AGO)
    except (ValueError, OverflowError):
        raise ValueError("its end is not a time") from None


def _servers(servers: Iterable[Json]) -> defaultdict[str, set[str]]:
    """Server names by owner: the namespace decides, because only its owner may make servers there."""
    by_user: defaultdict[str, set[str]] = defaultdict(set)
    for server in servers:
        metadata = _object(server, "metadata")
        name, namespace = metadata.get("name"), metadata.get("namespace")
        if isinstance(name, str) and isinstance(namespace, str) and fits(name, SERVER_NAME, SERVER_NAME_MAX):
            by_user[user_of(namespace) or ""].add(name)
    return by_user


def _authorized_keys(account: Account, domain: str) -> str:
    options = ["restrict", "pty", "agent-forwarding"]
    if account.servers:
        # Without any permitopen, port-forwarding would mean every port of everything (sshd(8)).
        options.append("port-forwarding")
        options += [f'permitopen="{host_of(server, account.name, domain)}:{SSH_PORT}"' for server in account.servers]
    return "".join(
        ",".join([*options, *([_until(end)] if end else [])]) + f" {key.text}\n" for key, end in account.keys.items()
    )


def _until(end: datetime) -> str:
    """The option expiry-time for a key's end.

    sshd still takes a key in the second that it names (auth2-pubkeyfile.c: valid_before < now); sessions end with it.
    """
    return f'expiry-time="{end - timedelta(seconds=1):%Y%m%d%H%M%SZ}"'


def _access(account: Account) -> dict[str, Any]:
    """What live sessions are held against: fingerprints, and when each ends."""
    ends = {key.fingerprint: f"{end:%Y-%m-%dT%H:%M:%SZ}" if end else None for key, end in account.keys.items()}
    return {"uid": account.uid, "keys": ends}


def _name_shared_keys(accounts: list[Account], problems: list[str]) -> None:
    holders: defaultdict[PublicKey, list[str]] = defaultdict(list)
    for account in accounts:
        for key in account.keys:
            holders[key].append(account.name)
    problems += [
        f"one key opens {len(names)} accounts ({', '.join(names[:5])}): {key.fingerprint}"
        for key, names in holders.items()
        if len(names) > 1
    ]


def _age(user: Json) -> tuple[str, str]:
    metadata = _object(user, "metadata")
    return str(metadata.get("creationTimestamp") or "9"), str(metadata.get("name"))


def _object(obj: Json, name: str) -> Json:
    value = obj.get(name)
    return value if isinstance(value, dict) else {}


def _items(spec: Json, name: str) -> list[object]:
    value = spec.get(name)
    return list(value) if isinstance(value, list | tuple) else []


def _quoted(value: object) -> str:
    """Something untrusted, short and on one line."""
    return json.dumps(str(value)[:64])
