"""Settings of the bastion.

Invariant: what differs between the bastions of two stacks is set here, and how long one drains is one number.

With cluster `aws` that number is edge.drainSeconds: the load balancer and the pods wait equally long.
"""

from __future__ import annotations

from pydantic import Field

from infra.settings.model import Cidrs, Cpu, Memory, SettingsModel, allowed

LOCAL_KEYS = {
    "drainSeconds": ("the load balancer has to wait as long", "set edge.drainSeconds instead"),
    "nodePort": ("people come through the load balancer", "remove it; edge.port is where they come"),
}
"""What a stack on AWS says elsewhere: the key, why, and what to do."""

SIDECARS = 3
"""Containers beside sshd's in a pod: audit, keysync, broker."""
SIDECAR_CPU, SIDECAR_MEMORY = "10m", "48Mi"
"""What each of them asks for."""
NODE_PORT = 32222
"""Where the nodes of a cluster on this machine listen, unless the stack says otherwise."""
PORT_VARIABLE = "DEVSERVERS_LOCAL_SSH_PORT"
"""What the program is told the port of this machine's loopback in, when it is not the nodes'."""


class Bastion(SettingsModel):
    """The one way in by SSH."""

    enabled: bool = Field(default=True, json_schema_extra=allowed("true or false"))
    """Whether there is one."""
    replicas: int = Field(default=2, ge=1, le=10, json_schema_extra=allowed("1 to 10"))
    """Pods that let people in."""
    drain_seconds: int = Field(default=3600, ge=0, le=3600, json_schema_extra=allowed("0 to 3600"))
    """How long open sessions go on when a pod goes."""
    node_port: int = Field(default=NODE_PORT, ge=30000, le=32767, json_schema_extra=allowed("30000 to 32767"))
    """Where the nodes listen, with cluster `local`."""
    kubectl: bool = Field(default=True, json_schema_extra=allowed("true or false"))
    """Whether people may run kubectl there, with their own rights in their own namespace."""
    record: bool = Field(default=False, json_schema_extra=allowed("true or false"))
    """Whether what interactive sessions show is kept (never what is typed), in the pod, until it goes."""
    exempt: Cidrs = ()
    """Networks whose people never wait for another's failed logins: an office behind one address is many people."""
    cpu_request: Cpu = "20m"
    """Of the container that people's sessions are in; the three beside it take 10m each."""
    cpu_limit: Cpu = "2"
    """Of the same."""
    memory_request: Memory = "256Mi"
    """Of the same; an open prompt takes about 9 MiB, an open `devctl ssh` about 30."""
    memory_limit: Memory = "3Gi"
    """Of the same."""
