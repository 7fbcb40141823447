"""Which pods have agents, and at which addresses they may be asked."""

from __future__ import annotations

import ipaddress

from devservers.observe import pods
from devservers.runtime.agents.schedule import Agent
from devservers_core.names import LABEL_NAME, user_of
from devservers_core.types import Json


def agent_of(pod: Json) -> Agent | None:
    """The agent in a pod, None for a pod that has none: not a server's, or from before there were agents."""
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    name = (metadata.get("labels") or {}).get(LABEL_NAME)
    if not name or user_of(metadata.get("namespace", "")) is None or spec.get("hostNetwork"):
        return None
    return Agent(metadata["namespace"], name, metadata.get("uid", "")) if pods.has_agent(pod) else None


def address_of(pod: Json) -> str:
    """The address of a pod, empty while it has none."""
    return str(pods.status(pod).get("podIP") or "")


def may_be_pod(address: str) -> bool:
    """Whether an address can be a pod's: never the operator's own machine, a link-local or a multicast one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified)
