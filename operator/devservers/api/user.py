"""The kind DevServerUser.

Invariant: what a person may use is in their DevServerUser and nowhere else; servers refer to it.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, ConfigDict, Field

from devservers.api.conditions import Conditions
from devservers.api.env import Env, bounded
from devservers.api.fields import Amount, Matching, OnWrite, PointInTime, UserName, list_map, rules, unavailable
from devservers.api.lifecycle import LifecycleLimits, TimeZone, WorkingHours
from devservers.api.meta import Column, Model, Names, Resource
from devservers.api.secrets import UNIQUE, SecretReferences
from devservers_core.grammar import GIT_URL, GIT_URL_MAX, USER_NAME
from devservers_core.names import (
    ANY_FLAVOR,
    MANAGERS,
    MAX_KEYS_PER_LIST,
    RESERVED_USER_NAMES,
    RESERVED_USER_PREFIX,
    namespace_of,
)
from devservers_core.ssh_keys import KEY_NAME, KEY_NAME_MAX, PUBLIC_KEY, PUBLIC_KEY_MAX

SshPublicKey = Annotated[
    str,
    Matching(
        PUBLIC_KEY,
        "not an OpenSSH public key; give the one line of a .pub file, without options before it",
        PUBLIC_KEY_MAX,
    ),
    # To be read by people, in lists and logs: a comment may not speak to their terminal.
    OnWrite(
        r"!self.matches(r'[\x00-\x1f\x7f-\x9f]')",
        "the key's comment has a control character; give the key without its comment",
    ),
]
KeyName = Annotated[
    str,
    Matching(
        KEY_NAME,
        "not a name for a key; use letters, digits and . _ @ -, a letter or digit first",
        KEY_NAME_MAX,
    ),
]
AllowedFlavor = Annotated[
    str, Matching(r"^(\*|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)$", "not a flavor name; use one, or * for all", 63)
]


class Quota(Model):
    """The most all servers of a person may take together.

    Of storage, servers and snapshots the stack has defaults; anything else is not limited unless it is set.
    """

    gpu: int | None = Field(default=None, ge=0, le=10000)
    cpu: Annotated[str, BeforeValidator(lambda v: str(v)), Amount("quota.cpu", False, integers=True)] | None = None
    memory: Annotated[str, BeforeValidator(lambda v: str(v)), Amount("quota.memory", False, integers=True)] | None = (
        None
    )
    servers: int | None = Field(default=None, ge=0, le=1000)
    """Stopped ones count as well."""
    storage: Annotated[str, BeforeValidator(lambda v: str(v)), Amount("quota.storage", False, integers=True)] | None = (
        None
    )
    """Of all volume claims together, homes of deleted servers included."""
    snapshots: int | None = Field(default=None, ge=0, le=1000)
    """Of their volumes. Each may hold as much as the volume did, and storage doesn't count them."""


class SshKey(Model):
    """A public key that people can tell from their others, with the day it ends on."""

    name: KeyName
    """What it is removed by, like laptop-2026."""
    key: SshPublicKey
    """The line of the .pub file."""
    expires: PointInTime | None = None
    """From then on it opens nothing, and sessions it opened end; RFC 3339, whole seconds count."""


class UserSpec(Model):
    """Who the person is, how they get in and how much they may use."""

    model_config = ConfigDict(json_schema_extra=rules(bounded("env is more", "env"), *UNIQUE))

    username: UserName
    """The same as metadata.name."""
    email: Annotated[str, Matching(r"^[^@\s]+@[^@\s]+$", "not an e-mail address", 254)] | None = None
    """Where to reach them."""
    ssh_public_keys: Annotated[
        tuple[SshPublicKey, ...],
        Field(max_length=MAX_KEYS_PER_LIST, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = ()
    """Lines of .pub files; whoever holds a private half of one gets into their servers."""
    ssh_keys: Annotated[
        tuple[SshKey, ...], Field(max_length=MAX_KEYS_PER_LIST, json_schema_extra=dict[str, Any](list_map("name")))
    ] = ()
    """More keys, each with a name and perhaps an end. A key that is here and above has this end all the same."""
    flavors: Annotated[
        tuple[AllowedFlavor, ...], Field(max_length=64, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = (ANY_FLAVOR,)
    """Names of the flavors they may use; `*` is every one."""
    quota: Quota = Quota()
    """The most their servers may take together."""
    time_zone: TimeZone | None = None
    """Where they are, as a name of the tz database, like Europe/Berlin. A time of day that they give at the bastion
    is of this zone; UTC without one."""
    managed_by: Annotated[str, Field(json_schema_extra={"enum": list(MANAGERS)})] | None = None
    """Which source of changes this person has: `stack` is the list `users` of a stack, `command` is `devctl user`,
    `identity` is the sign-in. The others leave them alone. Their own keys are theirs in any case."""
    budget: Annotated[float, Field(ge=0), unavailable("budget")] | None = None
    """US dollars a month; not available yet."""
    dotfiles: (
        Annotated[
            str,
            Matching(
                r"^((https|ssh|git)://|[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:)[^\s]+$",
                "not a git URL; use one like https://github.com/ann/dotfiles",
                GIT_URL_MAX,
            ),
            # Values from before servers applied them stay readable, and are applied only if they fit this.
            OnWrite(
                f"self.matches(r'{GIT_URL}')",
                "not a git URL that servers clone; use https without a user or token, or git@github.com:ann/dotfiles",
            ),
        ]
        | None
    ) = None
    """Git repository that each of their servers clones at its start, unless they choose another: `devctl setup set`."""
    env: Env = ()
    """Environment variables of all their servers."""
    secrets: SecretReferences = ()
    """Secrets of theirs that all their servers get from their next start, as variables or files. For a variable or file
    that their own set-up (`devctl setup set`) or a server has, that one wins."""
    lifecycle: LifecycleLimits = LifecycleLimits()
    """Limits of all their servers."""
    working_hours: WorkingHours | None = None
    """When all their servers stop for the night, instead of their flavors' time."""
    suspended: bool = False
    """Whether their servers are stopped and stay so."""


class UserStatus(Model):
    """What the operator made for the person."""

    uid: int | None = Field(default=None, ge=0)
    namespace: str | None = None
    phase: str | None = Field(default=None, json_schema_extra={"enum": ["Active", "Suspended", "Failed"]})
    conditions: Conditions = ()
    observed_generation: int | None = Field(default=None, ge=0)


class DevServerUser(Resource):
    """A person who has servers."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                f"self.metadata.name.matches(r'{USER_NAME}')",
                "not a user name; use 2 to 31 lower-case letters, digits and dashes, a letter first",
                ".metadata.name",
            ),
            (
                f"!(self.metadata.name in {list(RESERVED_USER_NAMES)!r}) && "
                f"!self.metadata.name.startsWith('{RESERVED_USER_PREFIX}')",
                "this user name is reserved; choose another",
                ".metadata.name",
            ),
            (
                "self.spec.username == self.metadata.name",
                "spec.username differs from metadata.name; give both the same value",
                ".spec.username",
            ),
        )
    )
    names: ClassVar[Names] = Names(
        kind="DevServerUser",
        plural="devserverusers",
        short="dsu",
        namespaced=False,
        columns=(
            Column("Phase", ".status.phase"),
            Column("UID", ".status.uid", "integer"),
            Column("Namespace", ".status.namespace"),
            Column("Email", ".spec.email", priority=1),
            Column("Managed by", ".spec.managedBy", priority=1),
            Column("Suspended", ".spec.suspended", "boolean", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )

    spec: UserSpec
    status: UserStatus = UserStatus()

    @property
    def namespace(self) -> str:
        """The namespace of their servers."""
        return namespace_of(self.name)
