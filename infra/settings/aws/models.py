"""Settings models of an AWS environment.

Invariant: every setting of an AWS environment is here, with its type, its default and what is allowed.

What fields must hold together is in infra/settings/aws/checks.py; both are applied before the first resource is made.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from devservers.api.admission.claims import SHARED_CLASS
from devservers.api.fields import Matching
from devservers_core.names import LABEL_POOL
from infra.catalog import FAMILIES
from infra.settings.aws.access import Access
from infra.settings.model import Cidr, Cidrs, SettingsModel, allowed
from infra.settings.platform.lifecycle import FlavorDefaults

GP3 = "gp3"
"""StorageClass of homes, the cluster's default."""
EFS = SHARED_CLASS
"""StorageClass of volumes that many servers mount."""
HOME_BACKUP_DAYS = 14
"""How long daily copies of homes are kept in staging and prod, unless the stack says otherwise."""
SYSTEM_POOL = "system"
"""The pool of the platform's own nodes; no pool of the list may have its name."""
SYSTEM_NODE_SELECTOR = {LABEL_POOL: SYSTEM_POOL}
"""Of everything the platform runs that is no DaemonSet: on other nodes it would take servers' room, and keep an empty
node from being removed."""

_TAG = Matching("^[A-Za-z0-9_ .:/=+@-]+$", "not a tag's value: letters, digits, spaces and _.:/=+@-", 256)
"""What the EBS driver's add-on takes, which is less than AWS does."""
Email = Annotated[
    str,
    Matching(r"^[^\s@<>]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$", "not an e-mail address", 254),
    Field(json_schema_extra=allowed("an e-mail address")),
]
_NAME = r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}"
Hostname = Annotated[
    str,
    Matching(f"^{_NAME}$", "not a DNS name in lower case", 253),
    Field(json_schema_extra=allowed("a DNS name, like dev.example.com")),
]
Zone = Annotated[
    str,
    Matching(r"^[a-z]{2}(-[a-z]+)+-[0-9]+[a-z]$", "not an availability zone", 32),
    Field(json_schema_extra=allowed("availability zones of the region, like eu-central-1a")),
]
Count = Annotated[int, Field(ge=0, le=1000, json_schema_extra=allowed("0 to 1000"))]
LogDays = Annotated[
    Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653],
    Field(json_schema_extra=allowed("a number of days CloudWatch knows: 7, 14, 30, 90, 180, 365, 731, ...")),
]


class Network(SettingsModel):
    """The VPC."""

    cidr: Cidr = "10.0.0.0/16"
    """Addresses of the VPC, private ones, /16 to /20; cut as infra/settings/aws/subnets.py says."""
    zones: Annotated[tuple[Zone, ...], Field(json_schema_extra=allowed("two or three zones of the region"))]
    """Where there are subnets. Their order gives them their addresses: add at the end."""
    nat: Literal["single", "zonal", "regional"] = Field(
        default="regional", json_schema_extra=allowed("single, zonal or regional")
    )
    """NAT gateways of the private subnets. single: one in the first zone; zonal: one in each zone; regional: one AWS
    gateway for all zones."""
    interface_endpoints: bool = Field(default=True, json_schema_extra=allowed("true or false"))
    """Whether AWS's own APIs are reached without leaving the VPC (about $8 a month for each and zone)."""
    reserved_cidrs: Cidrs = ()
    """Networks this one will be connected to, which it must not overlap: offices, VPNs, other VPCs."""
    log_days: LogDays = 90
    """How long flow logs are kept."""


class Kubernetes(SettingsModel):
    """The EKS cluster."""

    version: str = Field(default="1.36", json_schema_extra=allowed("a minor version of infra/catalog, like 1.36"))
    """One minor version up at a time; add-ons go with it."""
    public_access_cidrs: Cidrs = ()
    """Who reaches the API server from the internet; empty: nobody, only the VPC does. Never the whole world."""
    service_cidr: Cidr = "172.20.0.0/16"
    """Addresses of Services."""
    support: Literal["STANDARD", "EXTENDED"] = Field(
        default="STANDARD", json_schema_extra=allowed("STANDARD or EXTENDED")
    )
    """At the end of a version's standard support: upgraded by AWS, or kept at a price."""
    log_days: LogDays = 90
    """How long the control plane's logs are kept."""
    deletion_protection: bool = Field(default=False, json_schema_extra=allowed("true or false"))
    """Whether EKS refuses to delete the cluster; in production it always does."""


class SystemNodes(SettingsModel):
    """Nodes for the platform itself: operator, bastion, Kueue, controllers."""

    family: str = Field(default="m7i", json_schema_extra=allowed("a CPU family of infra/catalog"))
    """Of their instances; the sizes are in infra/catalog/instances.py."""
    size: str = Field(default="large", json_schema_extra=allowed("a size of the family"))
    """Of their instances."""
    min: Annotated[int, Field(ge=1, le=100, json_schema_extra=allowed("1 to 100"))] = 2
    """Nodes that are always there."""
    max: Annotated[int, Field(ge=1, le=100, json_schema_extra=allowed("1 to 100"))] = 4
    """Maximum number of nodes."""


class PoolSettings(FlavorDefaults):
    """A pool of equal nodes; its node groups, ResourceFlavor and flavor follow."""

    name: Annotated[
        str,
        Matching(r"^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$", "not a pool's name", 30),
        Field(json_schema_extra=allowed("up to 30 lower-case letters, digits and dashes, a letter first")),
    ]
    """Also of its flavor, where it has GPUs. A new name is another pool, with nodes of its own."""
    family: str = Field(json_schema_extra=allowed("a family of infra/catalog, like g6e"))
    """Processor and GPU."""
    size: str = Field(json_schema_extra=allowed("a size of the family, like 2xlarge"))
    """How much of them."""
    capacity: Literal["ON_DEMAND", "SPOT", "CAPACITY_BLOCK"] = Field(
        default="ON_DEMAND", json_schema_extra=allowed("ON_DEMAND, SPOT or CAPACITY_BLOCK")
    )
    """How nodes are bought: at list price, from spare capacity with two minutes' notice, or from a capacity block."""
    min: Count = 0
    """Nodes that are always there, over all its zones."""
    max: Annotated[int, Field(ge=1, le=1000, json_schema_extra=allowed("1 to 1000"))]
    """Maximum number of nodes, over all its zones: Kueue admits no more than fits on them. EKS does not
    allow a maximum of 0."""
    zones: Annotated[tuple[Zone, ...], Field(json_schema_extra=allowed("zones of network.zones, or none for all"))] = ()
    """Where it has nodes. EFA, capacity blocks and reservations are in one."""
    efa: bool = Field(default=False, json_schema_extra=allowed("true or false"))
    """Elastic Fabric Adapter and a cluster placement group, for training over several nodes."""
    reservation_id: Annotated[
        str,
        Matching(r"^(cr-[0-9a-f]{8,17})?$", "not a capacity reservation", 32),
        Field(json_schema_extra=allowed("the id of a capacity reservation, like cr-0123456789abcdef0")),
    ] = ""
    """The capacity block (or reservation) its nodes run in."""
    gpus_per_server: int = Field(default=0, ge=0, le=72, json_schema_extra=allowed("a divisor of the node's GPUs"))
    """GPUs of one server; 0: all of a node."""
    price_per_hour: float = Field(default=0, ge=0, json_schema_extra=allowed("US dollars, 0 for the catalog's"))
    """Of one node, where it differs from the catalog's (another region, a discount) or the catalog has none."""

    @property
    def node_price(self) -> float | None:
        """Price of one node in US dollars an hour; None if unknown.

        The pool's own, else the catalog's.
        For SPOT and CAPACITY_BLOCK the catalog's price is an upper limit.
        """
        return self.price_per_hour or FAMILIES[self.family].sizes[self.size].price


class Storage(SettingsModel):
    """Homes and shared volumes."""

    shared: bool = Field(default=True, json_schema_extra=allowed("true or false"))
    """Whether there is an EFS file system, for volumes that many servers mount."""
    backup: bool = Field(default=True, json_schema_extra=allowed("true or false"))
    """Whether AWS Backup keeps copies of it."""
    home_backup_days: int | None = Field(
        default=None, ge=0, le=365, json_schema_extra=allowed("0 to 365 days, 0 for no copies")
    )
    """How long AWS Backup keeps the daily copies of homes and other EBS volumes; 14 days in staging and prod and no
    copies in dev if not set."""


class HostedZone(SettingsModel):
    """The Route 53 zone names are made in."""

    name: Hostname
    """As in Route 53."""
    id: Annotated[
        str,
        Matching(r"^(Z[A-Z0-9]{1,31})?$", "not a hosted zone's id", 32),
        Field(json_schema_extra=allowed("an id like Z0123456789ABCDEFGHIJ, or empty: the zone is made")),
    ] = ""
    """Of a zone that is there already."""


class Edge(SettingsModel):
    """How SSH comes in."""

    hostname: Annotated[
        str,
        Matching(f"^({_NAME})?$", "not a DNS name in lower case", 253),
        Field(json_schema_extra=allowed("a name in the hosted zone, like ssh.dev.example.com, or empty")),
    ] = ""
    """What people type: ssh NAME@hostname; empty: only the load balancer's own name."""
    hosted_zone: HostedZone | None = None
    """Where the hostname is made."""
    allowed_cidrs: Cidrs = ()
    """Who may connect; empty: nobody."""
    port: int = Field(default=22, ge=1, le=65535, json_schema_extra=allowed("22 or 443, or another TCP port"))
    """Where SSH listens."""
    idle_seconds: int = Field(default=3600, ge=60, le=6000, json_schema_extra=allowed("60 to 6000"))
    """After so long without a byte the load balancer forgets a connection (elbv2 tcp.idle_timeout.seconds)."""
    drain_seconds: int = Field(default=3600, ge=0, le=3600, json_schema_extra=allowed("0 to 3600"))
    """How long open sessions go on when a bastion pod goes (deregistration delay)."""
    deletion_protection: bool = Field(default=False, json_schema_extra=allowed("true or false"))
    """Whether AWS refuses to delete the load balancer; production's it always does."""


class Registry(SettingsModel):
    """ECR."""

    build: bool = Field(default=False, json_schema_extra=allowed("true or false"))
    """Whether `pulumi up` builds and pushes the platform's images; else images.* names them."""
    keep: int = Field(default=30, ge=1, le=1000, json_schema_extra=allowed("1 to 1000"))
    """How many versions of an image are kept."""


class Observability(SettingsModel):
    """What is measured, and who hears of it."""

    container_insights: bool = Field(default=True, json_schema_extra=allowed("true or false"))
    """The CloudWatch add-on with GPU metrics."""
    log_days: LogDays = 90
    """How long containers' logs are kept."""
    emails: Annotated[tuple[Email, ...], Field(max_length=20, json_schema_extra=allowed("e-mail addresses"))] = ()
    """Who is told of alarms and of the budget."""
    monthly_budget: float = Field(default=0, ge=0, json_schema_extra=allowed("US dollars a month, 0 for none"))
    """Above 80 % of it, and above all of it as forecast, they get a message."""


class Aws(SettingsModel):
    """An environment on AWS: all that `cluster: aws` may be told."""

    environment: Literal["dev", "staging", "prod"] = Field(json_schema_extra=allowed("dev, staging or prod"))
    """prod is held to more: no public API server, three zones, no single NAT gateway, SSH not open to the world, what
    holds data is protected."""
    region: Annotated[
        str,
        Matching(r"^[a-z]{2}(-[a-z]+)+-[0-9]+$", "not an AWS region", 25),
        Field(json_schema_extra=allowed("a region, like eu-central-1")),
    ]
    """Where everything is; the catalog's prices are us-east-1's."""
    account_id: Annotated[
        str,
        Matching(r"^[0-9]{12}$", "not an AWS account", 12),
        Field(json_schema_extra=allowed("the account's 12 digits, in quotes")),
    ]
    """The only account the stack is ever made in."""
    owner: Annotated[
        str,
        _TAG,
        Field(json_schema_extra=allowed("a team or an address")),
    ]
    """Tag Owner of everything."""
    cost_center: Annotated[
        str,
        _TAG,
        Field(json_schema_extra=allowed("what finance calls it")),
    ]
    """Tag CostCenter of everything."""
    network: Network
    kubernetes: Kubernetes = Kubernetes()
    system: SystemNodes = SystemNodes()
    pools: Annotated[tuple[PoolSettings, ...], Field(min_length=1, max_length=20)]
    """At least one: servers run nowhere else."""
    storage: Storage = Storage()
    edge: Edge = Edge()
    registry: Registry = Registry()
    access: Access = Access()
    observability: Observability = Observability()

    @property
    def production(self) -> bool:
        """Whether what holds data is protected from being deleted."""
        return self.environment == "prod"

    @property
    def home_backup_days(self) -> int:
        """How many days daily copies of homes are kept; 0: there are none."""
        days = self.storage.home_backup_days
        return days if days is not None else 0 if self.environment == "dev" else HOME_BACKUP_DAYS

    def zones_of(self, pool: PoolSettings) -> tuple[str, ...]:
        """The zones a pool has nodes in."""
        return pool.zones or self.network.zones


KEYS = {field.alias or name: field for name, field in Aws.model_fields.items()}
"""Configuration key to field; they stand beside the other keys of a stack, not below one of their own."""
