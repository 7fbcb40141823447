"""The kind DevServer.

Invariant: its spec is what the owner wants; its status is what is true, and only the operator writes it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from devservers.api.devserver_status import DevServerStatus
from devservers.api.distributed import Distributed
from devservers.api.env import Env, bounded
from devservers.api.fields import (
    Amount,
    ClaimName,
    FlavorName,
    ImageReference,
    Matching,
    UserName,
    rules,
)
from devservers.api.lifecycle import Lifecycle
from devservers.api.meta import Column, Model, Names, Resource
from devservers.api.secrets import UNIQUE, SecretReferences
from devservers_core.grammar import MOUNT_PATH, MOUNT_PATH_MAX, SERVER_NAME
from devservers_core.names import (
    HOME_PATH,
    MAX_VOLUMES,
    RESERVED_PATHS,
    SHARED_PATH,
    user_of,
)
from devservers_core.replicas import DISTRIBUTED, MAX_NAME, REPLICAS_SUFFIX, STANDALONE

_BARE = "(v.mountPath.endsWith('/') ? v.mountPath.substring(0, size(v.mountPath) - 1) : v.mountPath)"
_BARE_W = _BARE.replace("v.", "w.")
_RESERVED = "|".join(RESERVED_PATHS)

MountPath = Annotated[
    str,
    Matching(
        MOUNT_PATH,
        "mountPath is not an absolute path below /; use one like /data, without : or empty parts",
        MOUNT_PATH_MAX,
    ),
]


class Volume(Model):
    """A volume claim of the same namespace, mounted into the server."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                r"!self.mountPath.matches(r'/\.\.?(/|$)')",
                "mountPath has a . or .. part; write the path out",
                ".mountPath",
            ),
            (
                f"!self.mountPath.matches(r'^({_RESERVED})(/|$)')",
                f"mountPath is the platform's own ({', '.join(RESERVED_PATHS)}); use another, like /data",
                ".mountPath",
            ),
        )
    )

    claim_name: ClaimName
    """Name of the PersistentVolumeClaim."""
    mount_path: MountPath
    """Absolute path in the server."""
    read_only: bool = False
    """Whether writing to it is refused."""


class DevServerSpec(Model):
    """What the owner wants to run."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!oldSelf.hasValue() || oldSelf.value().mode == self.mode",
                "mode can't be changed; create another server of the other mode",
                ".mode",
            ),
            (
                "self.mode != 'distributed' || has(self.distributed)",
                "mode distributed needs distributed.replicas, from 2 to 64",
                ".distributed",
            ),
            (
                "self.mode != 'distributed' || self.enableSSH",
                "mode distributed needs enableSSH; its replicas reach each other by it",
                ".enableSSH",
            ),
            (
                "!oldSelf.hasValue() || self.mode != 'distributed' || "
                "has(oldSelf.value().persistentHomeSize) == has(self.persistentHomeSize)",
                "a distributed server keeps or lacks its homes for good; create another server",
                ".persistentHomeSize",
            ),
            (
                "!has(self.distributed) || self.mode == 'distributed'",
                "distributed is only for mode distributed; remove it",
                ".distributed",
            ),
            (
                "!has(self.args) || size(self.args) == 0 || (has(self.command) && size(self.command) > 0)",
                "args need command; the image's own entrypoint is not used",
                ".args",
            ),
            (
                f"!has(self.volumes) || self.volumes.all(v, self.volumes.exists_one(w, {_BARE} == {_BARE_W}))",
                "two volumes have the same mountPath; give each its own",
                ".volumes",
            ),
            (
                "!has(self.volumes) || !has(self.sharedVolumeClaimName) || "
                f"!self.volumes.exists(v, {_BARE} == '{SHARED_PATH}')",
                f"{SHARED_PATH} is where sharedVolumeClaimName goes; give the volume another mountPath",
                ".volumes",
            ),
            (
                "!has(self.volumes) || !has(self.persistentHomeSize) || "
                f"!self.volumes.exists(v, {_BARE} == '{HOME_PATH}')",
                f"{HOME_PATH} is where the home of persistentHomeSize goes; leave one of the two out",
                ".volumes",
            ),
            *UNIQUE,
            bounded("env, command and args together are more", "env", "command", "args"),
        )
    )

    owner: UserName | None = None
    """The user whose server it is; the namespace says it too, so it may be left out."""
    flavor: FlavorName
    """Name of the DevServerFlavor that gives its size."""
    image: ImageReference | None = None
    """Image reference; the platform's default image when left out."""
    command: Annotated[tuple[Annotated[str, Field(max_length=32768)], ...], Field(max_length=64)] = ()
    """What to run beside SSH; when it ends, or is left out, the server stays up all the same."""
    args: Annotated[tuple[Annotated[str, Field(max_length=32768)], ...], Field(max_length=256)] = ()
    """Appended to command."""
    env: Env = ()
    """Environment variables, besides those of the user."""
    secrets: SecretReferences = ()
    """Secrets of the person, as variables (before those of env of the same name) or as files in
    /etc/devservers/secrets. The server waits for one that doesn't exist."""
    mode: Annotated[str, Field(json_schema_extra={"enum": [STANDALONE, DISTRIBUTED]})] = STANDALONE
    """One pod, or several replicas that train together."""
    distributed: Distributed | None = None
    """The replicas of mode distributed."""
    persistent_home_size: Annotated[str, Amount("persistentHomeSize")] | None = None
    """Size of the volume for /home/dev, kept when the server is deleted; without it the home starts empty."""
    shared_volume_claim_name: ClaimName | None = None
    """Claim to mount at /shared."""
    volumes: Annotated[tuple[Volume, ...], Field(max_length=MAX_VOLUMES)] = ()
    """More claims of the namespace to mount."""
    enable_ssh: bool = True
    """Whether an SSH server runs in it."""
    running: bool = True
    """false stops the server and keeps its home."""
    lifecycle: Lifecycle = Lifecycle()
    """When it ends by itself."""


class DevServer(Resource):
    """A personal development server."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                f"self.metadata.name.matches(r'{SERVER_NAME}')",
                "not a server name; use 2 to 40 lower-case letters, digits and dashes, a letter first",
                ".metadata.name",
            ),
            (
                f"self.spec.mode != 'distributed' || size(self.metadata.name) <= {MAX_NAME}",
                f"the name is too long for mode distributed; use at most {MAX_NAME} characters",
                ".metadata.name",
            ),
            (
                f"oldSelf.hasValue() || !self.metadata.name.endsWith('{REPLICAS_SUFFIX}')",
                f"names that end in {REPLICAS_SUFFIX} are those of distributed servers' Services; use another",
                ".metadata.name",
            ),
        )
    )
    names: ClassVar[Names] = Names(
        kind="DevServer",
        plural="devservers",
        short="dsv",
        namespaced=True,
        columns=(
            Column("Phase", ".status.phase"),
            Column("Ready", ".status.ready"),
            Column("Flavor", ".spec.flavor"),
            Column("User", ".status.user"),
            Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
            Column("Expires", ".status.expiresAt", priority=1),
            Column("Image", ".spec.image", priority=1),
            Column("Endpoint", ".status.endpoint", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )

    spec: DevServerSpec
    status: DevServerStatus = DevServerStatus()

    @property
    def replicas(self) -> int | None:
        """How many replicas a distributed server has, None of a standalone one."""
        if self.spec.mode != DISTRIBUTED or self.spec.distributed is None:
            return None
        return self.spec.distributed.replicas

    @property
    def owner(self) -> str:
        """The user it belongs to, by spec, else by namespace; empty if there is none."""
        return self.spec.owner or user_of(self.metadata.namespace) or ""

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name)."""
        return (self.metadata.namespace, self.metadata.name)
