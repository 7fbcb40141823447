"""The operator, which also asks agents on loopback addresses: those of fake agents (tests/support/agents.py)."""

from __future__ import annotations

import ipaddress

from devservers.runtime.agents import agent_pods
from devservers.runtime.main import main


def is_loopback(address: str) -> bool:
    """Whether an address can be a fake agent's."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    agent_pods.may_be_pod = is_loopback
    main()
