"""Settings models of a stack: one frozen model for everything configurable.

Invariant: what one field allows stands beside it; infra/settings/loading.py reads and checks the whole.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from devservers.api import registries
from devservers.api.fields import Matching
from devservers.api.user import UserSpec
from devservers_core.grammar import TIME_ZONE, TIME_ZONE_MAX
from devservers_core.names import LOCAL_IMAGES, is_reserved_user
from infra.settings.aws.models import EFS, GP3, SYSTEM_NODE_SELECTOR, Aws
from infra.settings.model import Cpu, Image, Memory, SettingsModel, allowed
from infra.settings.platform.bastion import Bastion
from infra.settings.platform.egress import Egress
from infra.settings.platform.fast_starts import FastStarts
from infra.settings.platform.lifecycle import FlavorDefaults
from infra.settings.platform.overcommit import Overcommit
from infra.settings.platform.quota import Quota, Registries

LOCAL = "local"
AWS = "aws"
IMAGE_VARIABLES = {
    "operator": "DEVSERVERS_IMAGE_OPERATOR",
    "agent": "DEVSERVERS_IMAGE_AGENT",
    "base": "DEVSERVERS_IMAGE_BASE",
    "bastion": "DEVSERVERS_IMAGE_BASTION",
    "kueue": "DEVSERVERS_IMAGE_KUEUE",
    "pytorch": "DEVSERVERS_IMAGE_PYTORCH",
}
"""What `make up` sets to the images it built (PyTorch's on request); with cluster `local` each wins over the
configuration."""
CHART_VARIABLE = "DEVSERVERS_KUEUE_CHART"
"""What it sets to the chart that came with the controller it built; wins too."""


def _tagged(reference: str) -> str:
    if ":" not in reference.rpartition("/")[2]:
        raise PydanticCustomError("untagged", "this image needs a tag, like registry.example.com/kueue:v0.18.2")
    return reference


PullSecret = Annotated[
    str, Matching(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", "not a Secret's name; use lower-case letters, digits and -", 200)
]


class Images(SettingsModel):
    """The platform's images."""

    operator: Image
    """Runs the operator."""
    agent: Image
    """Carries the agent and OpenSSH into every server."""
    base: Image
    """What a server runs when neither it nor its flavor names an image."""
    pytorch: Image | None = Field(default=None, json_schema_extra=allowed("an image reference"))
    """What servers of GPU flavors run when they name no image; `base` without one."""
    bastion: Image
    """Lets people in by SSH."""
    kueue: Annotated[Image, AfterValidator(_tagged)] = "registry.k8s.io/kueue/kueue:v0.18.2"
    """Kueue's controller; its chart wants a tag."""
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        default="IfNotPresent", json_schema_extra=allowed("IfNotPresent, Always or Never")
    )
    """Of the pods of the operator, the bastion and Kueue."""


class Operator(SettingsModel):
    """The operator's Deployment."""

    replicas: int = Field(default=2, ge=1, le=5, json_schema_extra=allowed("1 to 5"))
    """One works, the others wait for its Lease."""
    workers: int = Field(default=8, ge=1, le=64, json_schema_extra=allowed("1 to 64"))
    """Objects worked on at a time."""
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", json_schema_extra=allowed("debug, info, warning or error")
    )
    cpu_request: Cpu = "50m"
    cpu_limit: Cpu = "1"
    memory_request: Memory = "128Mi"
    memory_limit: Memory = "1Gi"
    """Enough for 5,000 servers; docs/guides/administrator.md has the sizes that were measured."""


class Queueing(SettingsModel):
    """Kueue, and how its queues divide what the cluster has."""

    enabled: bool = Field(default=True, json_schema_extra=allowed("true or false"))
    """Whether servers wait in a queue for what is taken; without, they stay Pending at the scheduler."""
    replicas: int | None = Field(default=None, ge=1, le=5, json_schema_extra=allowed("1 to 5"))
    """Of the controller; unset: 1 with cluster `local`, else 2. One works, all answer the API server."""
    interactive_share: int = Field(default=100, ge=0, le=100, json_schema_extra=allowed("0 to 100, percent"))
    """What servers own of each pool; training owns the rest. Each borrows what the other leaves idle, and servers take
    theirs back at once."""
    chart: Annotated[str, Matching(r"^(/.+)?$", "not an absolute path", 4096)] = Field(
        default="", json_schema_extra=allowed("the absolute path of a chart's folder, or empty for Kueue's registry")
    )
    """Kueue's chart."""
    cpu_request: Cpu = "100m"
    cpu_limit: Cpu = "2"
    memory_request: Memory = "128Mi"
    memory_limit: Memory = "1Gi"


class User(UserSpec):
    """A person, with the fields of DevServerUser.spec."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("managed_by", mode="before")
    @classmethod
    def _set_by_the_stack(cls, value: object) -> object:
        if value is not None:
            message = "managedBy is always stack for the users of a stack; leave it out"
            raise PydanticCustomError("set-by-the-stack", message)
        return value

    @field_validator("username")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if is_reserved_user(name):
            raise PydanticCustomError("reserved", "this user name is reserved; choose another")
        return name


class Settings(FlavorDefaults):
    """The configuration of one stack, keys in camelCase under `devservers:`."""

    cluster: Literal["local", "aws"] = Field(json_schema_extra=allowed("local or aws"))
    """Where the cluster comes from: `local` is one on this machine, found as infra/local/context.py says; `aws` is an
    EKS cluster that this program makes with everything it needs."""
    images: Images
    operator: Operator = Operator()
    queueing: Queueing = Queueing()
    bastion: Bastion = Bastion()
    egress: Egress = Egress()
    overcommit: Overcommit = Overcommit()
    fast_starts: FastStarts = FastStarts()
    users: tuple[User, ...] = Field(
        default=(), max_length=5000, json_schema_extra=allowed("a list of users, each name once")
    )
    """Who has servers. With cluster `local` an empty list means the person at this machine."""
    time_zone: Annotated[
        str,
        Matching(
            f"^$|{TIME_ZONE}", "not a time zone; use a name of the tz database, like Europe/Berlin", TIME_ZONE_MAX
        ),
        Field(json_schema_extra=allowed("a name of the tz database, like Europe/Berlin, or empty for UTC")),
    ] = ""
    """Of times of day that users type at the bastion, where their own timeZone is not set."""
    quota: Quota = Quota()
    """What a person may have."""
    registries: Registries = (registries.ANY,)
    """What images of people's own may come from: `*` is every registry with a public name. One that is named by an
    address, or by a name that leads to the node itself, has to be listed."""
    storage_class: Annotated[
        str,
        Matching(r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$", "not the name of a StorageClass", 253),
        Field(json_schema_extra=allowed("a StorageClass's name, or empty for the cluster's default")),
    ] = ""
    """For homes."""
    image_pull_secrets: tuple[PullSecret, ...] = Field(
        default=(), max_length=16, json_schema_extra=allowed("a list of names of Secrets in devservers-system")
    )
    """Logins to image registries for everybody's servers: Secrets of type kubernetes.io/dockerconfigjson that an
    administrator keeps in the operator's namespace. The operator copies them into each user's."""
    await_: bool = Field(default=True, alias="await", json_schema_extra=allowed("true or false"))
    """Whether `pulumi up` waits until Kueue, the operator and users' namespaces are there (queues always do)."""
    await_seconds: int = Field(default=180, ge=10, le=3600, json_schema_extra=allowed("10 to 3600"))
    """How long it waits for each before it fails."""
    aws: Aws | None = None
    """The environment on AWS, with cluster `aws`; its keys stand beside the others."""

    @property
    def home_class(self) -> str:
        """The StorageClass of homes, empty for the cluster's default."""
        return self.storage_class or (GP3 if self.cluster == AWS else "")

    @property
    def shared_class(self) -> str:
        """The StorageClass of volumes that many servers mount, empty where there is none."""
        return EFS if self.aws and self.aws.storage.shared else ""

    @property
    def image_sources(self) -> tuple[str, ...]:
        """Registries of users' images, on this machine with images of `make up`."""
        return (*self.registries, LOCAL_IMAGES) if self.cluster == LOCAL else self.registries

    @property
    def queueing_replicas(self) -> int:
        """How many controllers of Kueue run."""
        return self.queueing.replicas or (1 if self.cluster == LOCAL else 2)

    @property
    def node_selector(self) -> dict[str, str]:
        """Node selector of the platform's own pods: on AWS the system nodes."""
        return dict(SYSTEM_NODE_SELECTOR) if self.cluster == AWS else {}

    @property
    def closed_networks(self) -> tuple[str, ...]:
        """Networks that servers don't reach.

        On AWS nodes, pods, the API server and VPC endpoints have addresses of the VPC.
        """
        own = (self.aws.network.cidr, self.aws.kubernetes.service_cidr) if self.aws else ()
        return tuple(dict.fromkeys((*own, *self.egress.deny)))

    @property
    def drain_seconds(self) -> int:
        """Seconds that sessions go on when a bastion pod ends, or its target drains."""
        return self.aws.edge.drain_seconds if self.aws else self.bastion.drain_seconds

    @model_validator(mode="after")
    def _users_once(self) -> Settings:
        names = [user.username for user in self.users]
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise PydanticCustomError("twice", "user {name} is there twice; give each name once", {"name": name})
        return self


KEYS = {field.alias or name: field for name, field in Settings.model_fields.items() if name != "aws"}
"""Configuration key to field, without the project's prefix; AWS's own are in infra/settings/aws/models.py."""
