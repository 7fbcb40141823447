"""Names and limits of distributed servers and their replicas."""

from __future__ import annotations

from .names import ANNOTATION_HOME_OF, LABEL_NAME, SERVICE_DOMAIN, home_name, namespace_of
from .types import Json

STANDALONE, DISTRIBUTED = "standalone", "distributed"
"""spec.mode of a DevServer."""
MIN_REPLICAS, MAX_REPLICAS = 2, 64
MAX_PROCESSES = 64
"""Of one replica."""
MAX_NAME = 36
"""Length of a distributed server's name: names of its objects are made from it."""
REPLICAS_SUFFIX = "-replicas"
"""Of the headless Service of a distributed server, so no other server's name ends so."""
LABEL_POD_INDEX = "apps.kubernetes.io/pod-index"
"""On each pod of a StatefulSet, by Kubernetes: its number."""
HOME_TEMPLATE = "home"
"""The volume claim template of a distributed server: its claims are called `home-NAME-0` and so on."""
MASTER_PORT = 29500
"""Where the first replica's rendezvous listens."""
NCCL, GLOO = "nccl", "gloo"
BACKENDS = (NCCL, GLOO)
NCCL_NAME = "^(NCCL|TORCH_NCCL|FI)_[A-Z0-9_]+$"
"""Names of variables that ncclSettings may have: NCCL's, PyTorch's for it, and libfabric's."""
MAX_NCCL_NAME, MAX_NCCL_VALUE, MAX_NCCL_SETTINGS = 128, 1024, 64


def replica_name(server: str, index: int) -> str:
    """The pod of a replica, and what it is called inside the server: `train-0`."""
    return f"{server}-{index}"


def replica_names(server: str, replicas: int) -> tuple[str, ...]:
    """The names of all replicas, in order."""
    return tuple(replica_name(server, index) for index in range(replicas))


def replicas_service(server: str) -> str:
    """The headless Service that gives each replica its name: `train` has `train-replicas`."""
    return f"{server}{REPLICAS_SUFFIX}"


def replicas_domain(server: str, user: str) -> str:
    """The domain that a server's replicas have their names in."""
    return f"{replicas_service(server)}.{namespace_of(user)}.{SERVICE_DOMAIN}"


def home_names(server: str, replicas: int | None) -> tuple[str, ...]:
    """The PersistentVolumeClaims of a server's homes: one for each replica, one without (`replicas` None)."""
    if replicas is None:
        return (home_name(server),)
    return tuple(f"{HOME_TEMPLATE}-{name}" for name in replica_names(server, replicas))


def is_replica_home(claim: str, server: str) -> bool:
    """Whether a claim is the home of a replica of the server, by its name: also of one that it has no more."""
    number = claim.removeprefix(f"{HOME_TEMPLATE}-{server}-")
    return number != claim and number.isascii() and number.isdigit() and int(number) < MAX_REPLICAS


def server_of_home(claim: str) -> str | None:
    """The server whose replica's home a claim is by its name; None for another name."""
    server = claim.removeprefix(f"{HOME_TEMPLATE}-").rpartition("-")[0]
    return server if server and is_replica_home(claim, server) else None


def belongs_to(claim: Json, server: str) -> bool:
    """Whether a stored claim is a home of the server: by its label or annotation, as its name alone proves nothing."""
    metadata = claim["metadata"]
    return server in (
        (metadata.get("labels") or {}).get(LABEL_NAME),
        (metadata.get("annotations") or {}).get(ANNOTATION_HOME_OF),
    )
