"""The variables of a replica by which PyTorch's processes find each other."""

from __future__ import annotations

from devservers.api.devserver import DevServer
from devservers.build.distributed.layout import Layout
from devservers_core.names import RESERVED_ENV_PREFIX
from devservers_core.replicas import LABEL_POD_INDEX, MASTER_PORT, replica_name, replicas_domain
from devservers_core.types import Json

REPLICA_VARIABLE = f"{RESERVED_ENV_PREFIX}REPLICA"
REPLICAS_VARIABLE = f"{RESERVED_ENV_PREFIX}REPLICAS"
BACKEND_VARIABLE = f"{RESERVED_ENV_PREFIX}BACKEND"


def variables(server: DevServer, user: str, layout: Layout) -> list[Json]:
    """The variables, the same in every replica but for its number.

    torchrun reads PET_*, and sets RANK, WORLD_SIZE and LOCAL_RANK for each process itself. So they are set here only
    where a replica has one process, which a plain `python train.py` is.
    """
    master = f"{replica_name(server.name, 0)}.{replicas_domain(server.name, user)}"
    values = {
        REPLICAS_VARIABLE: layout.replicas,
        BACKEND_VARIABLE: layout.backend,
        "MASTER_ADDR": master,
        "MASTER_PORT": MASTER_PORT,
        "NPROC_PER_NODE": layout.processes,
        "PET_MASTER_ADDR": master,
        "PET_MASTER_PORT": MASTER_PORT,
        "PET_NNODES": layout.replicas,
        "PET_NPROC_PER_NODE": layout.processes,
    }
    numbers = [REPLICA_VARIABLE, "PET_NODE_RANK"]
    if layout.processes == 1:
        values |= {"WORLD_SIZE": layout.replicas, "LOCAL_RANK": 0}
        numbers.append("RANK")
    index = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{LABEL_POD_INDEX}']"}}
    return [
        *({"name": name, "value": str(value)} for name, value in values.items()),
        *({"name": name, "valueFrom": index} for name in numbers),
        *({"name": name, "value": value.replace("$", "$$")} for name, value in sorted(layout.settings.items())),
    ]
