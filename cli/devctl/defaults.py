"""What devctl takes where a command line, an environment and a configuration file say nothing."""

from __future__ import annotations

DEFAULT_HOME_SIZE = "10Gi"
HOST_SUFFIX = ".devserver"
"""Of the host that a person gives to ssh, scp and editors: `mydev.devserver`."""
KEEPALIVE = {"ServerAliveInterval": "30", "ServerAliveCountMax": "4"}
"""ssh's options with which a connection that is dead ends after two minutes, and an idle one is kept open."""
