"""The Service of a server: its name in the cluster, port 22 to the pod's SSH port."""

from __future__ import annotations

from devservers.api.devserver import DevServer
from devservers.api.user import DevServerUser
from devservers_core.names import LABEL_NAME, SSH_POD_PORT, SSH_PORT
from devservers_core.types import Json

from .manifest import child_metadata


def service(server: DevServer, user: DevServerUser) -> Json:
    """The ClusterIP Service `<server>`, for a server with enableSSH."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(server.name, server, user),
        "spec": {
            "type": "ClusterIP",
            "selector": {LABEL_NAME: server.name},
            "ports": [{"name": "ssh", "port": SSH_PORT, "targetPort": SSH_POD_PORT, "protocol": "TCP"}],
        },
    }
