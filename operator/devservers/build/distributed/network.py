"""The network of a distributed server: a name for each replica, and who reaches them.

Invariant: all ports are open between the replicas of one server, and to nobody else: NCCL and gloo take any port.
"""

from __future__ import annotations

from devservers.api.devserver import DevServer
from devservers.api.user import DevServerUser
from devservers.build.manifest import child_metadata
from devservers_core.names import LABEL_NAME
from devservers_core.replicas import replicas_service
from devservers_core.types import Json


def headless_service(server: DevServer, user: DevServerUser) -> Json:
    """The Service by which each replica has a name, before it is ready too: rendezvous begins then."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(replicas_service(server.name), server, user),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {LABEL_NAME: server.name},
        },
    }


def network_policy(server: DevServer, user: DevServerUser) -> Json:
    """The NetworkPolicy between the replicas, beside the namespace's own."""
    own = {"podSelector": {"matchLabels": {LABEL_NAME: server.name}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": child_metadata(replicas_service(server.name), server, user),
        "spec": {**own, "policyTypes": ["Ingress"], "ingress": [{"from": [own]}]},
    }
