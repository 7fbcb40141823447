"""The operator's settings, read once from environment variables DEVSERVERS_<NAME>."""

from __future__ import annotations

import socket

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from devservers_core.names import LOCAL_IMAGES, RESERVED_ENV_PREFIX, SYSTEM_NAMESPACE


class Settings(BaseSettings):
    """Every setting is an environment variable DEVSERVERS_<NAME>."""

    model_config = SettingsConfigDict(env_prefix=RESERVED_ENV_PREFIX, frozen=True, extra="ignore")

    default_image: str = f"{LOCAL_IMAGES}/base:latest"
    """Image of servers that name none. Changing it restarts nothing; it is used at a server's next start."""

    agent_image: str = f"{LOCAL_IMAGES}/agent:latest"
    """Image whose init container carries the agent and OpenSSH into any image."""

    namespace: str = SYSTEM_NAMESPACE
    """Where the Lease, the uid ConfigMap and the user CA Secret live."""

    kube_context: str | None = None
    """Context of the kubeconfig, outside a pod; None takes the current one. Set by `make run CONTEXT=name`."""

    storage_class: str | None = None
    """StorageClass of homes; None takes the cluster's default."""

    image_pull_secrets: str = ""
    """Secrets of `namespace` with logins to image registries, for all servers, with commas between."""

    quota_storage: str | None = None
    """Storage of a person who has no quota.storage, all volume claims together; None is no limit."""

    quota_servers: int | None = Field(default=None, ge=0)
    """Servers of a person who has no quota.servers, stopped ones included; None is no limit."""
    quota_snapshots: int | None = Field(default=None, ge=0)
    """Snapshots of a person who has no quota.snapshots; None is build/user.py's MAX_SNAPSHOTS."""

    quota_claim: str | None = None
    """The most that one volume claim of anybody may ask for; None is no limit."""

    shared_class: str | None = None
    """StorageClass of volumes that many servers mount; its claims count against quota_shared instead."""

    quota_shared: str | None = None
    """Storage of a person's claims of that class."""

    image_sources: str = "*"
    """Registries that users' own images may come from, with commas between: `*`, or registries with a path."""

    time_zone: str = ""
    """Zone of the times of day of users who name none, like Europe/Berlin. Empty: UTC."""

    queueing: bool = False
    """Whether servers wait for quota in Kueue's queues. Turning it on restarts nothing: a pod made before goes on."""

    bastion_hosts: str = ""
    """Host names and addresses of the bastion, with commas between, for its host certificate. Empty: no bastion."""

    closed_networks: str = ""
    """Networks that servers don't reach, with commas between: nodes, pods, the API server, the stack's own list.
    Link-local addresses are closed always."""

    opened_networks: str = ""
    """Networks that servers reach although they lie in a closed one, with commas between."""

    name_servers: str = ""
    """Networks of name servers that are no pods, with commas between; servers reach port 53 there."""

    metrics_port: int = Field(default=9090, ge=0, le=65535)
    """Prometheus metrics; 0 turns the port off."""

    health_port: int = Field(default=8080, ge=0, le=65535)
    """/healthz and /readyz; 0 turns the port off."""

    listen: str = "0.0.0.0"
    """Address both ports listen on."""

    lease_seconds: float = Field(default=15.0, ge=1.0)
    """Seconds without a renewal after which a standby takes over. The leader renews every third of it, and ends its
    process after two thirds without a renewal, before a standby may write."""

    workers: int = Field(default=8, ge=1, le=64)
    """Keys reconciled at the same time."""

    reconcile_timeout: float = Field(default=60.0, gt=0)
    """Seconds one reconcile may take; then it counts as failed."""

    resync_seconds: float = Field(default=600.0, gt=0)
    """Seconds between resyncs: list everything, drop what is gone, reconcile every root again."""

    drain_seconds: float = Field(default=10.0, ge=0)
    """Seconds that a stopping operator spends at most on the keys in its queue."""

    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""

    @property
    def pull_secret_names(self) -> tuple[str, ...]:
        """The names in `image_pull_secrets`."""
        return tuple(filter(None, self.image_pull_secrets.split(",")))

    identity: str = Field(default_factory=socket.gethostname)
    """This process's name in the Lease; by default the pod's name."""
