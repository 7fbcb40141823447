"""Settings of the supervisor, with defaults for a pod.

Invariant: what differs between bastions is set in one place, with a default that suits a pod.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SupervisorSettings:
    """The settings of one supervisor.

    `drain_seconds` is the one number that a pod's grace period follows from.
    """

    drain_seconds: float = 3600
    deregister_seconds: float = 15
    """How long new connections are still taken when a load balancer is only just learning of the end."""
    health_host: str = "0.0.0.0"
    health_port: int = 8081
    max_connections: int = 20
    """Of one person."""
    max_processes: int = 64
    """Of one person here. Not RLIMIT_NPROC: that counts a uid's processes on the whole node, servers included."""
    max_memory: int = 384 << 20
    """Bytes of all processes of one person here: the container's GiB is everybody's, and so is the end of it."""
