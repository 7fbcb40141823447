"""The Service of a server: its name in the cluster, port 22 to the pod's SSH port."""

from __future__ import annotations

from devservers.api.devserver import DevServer
from devservers.api.user import DevServerUser
from devservers_core.names import LABEL_NAME, SSH_POD_PORT, SSH_PORT
from devservers_core.replicas import LABEL_POD_INDEX
from devservers_core.types import Json

from .manifest import child_metadata


def service(server: DevServer, user: DevServerUser) -> Json:
    """The ClusterIP Service `<server>`, for a server with enableSSH: of a distributed one its first replica."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(server.name, server, user),
        "spec": {
            "type": "ClusterIP",
            "selector": {LABEL_NAME: server.name} | ({} if server.replicas is None else {LABEL_POD_INDEX: "0"}),
            "ports": [{"name": "ssh", "port": SSH_PORT, "targetPort": SSH_POD_PORT, "protocol": "TCP"}],
        },
    }
