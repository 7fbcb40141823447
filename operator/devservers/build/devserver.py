"""The manifests of a server's children.

Invariant: they are a function of the request alone: same request, same manifests, byte for byte. Of a stored workload
only the record of its last start is used (see record.py), of a stored home its size and class.
"""

from __future__ import annotations

from devservers_core.replicas import home_names
from devservers_core.types import Json

from .distributed.launch import launch_config_map
from .distributed.layout import Layout, LayoutError
from .distributed.network import headless_service, network_policy
from .keys import keys_config_map
from .record import (
    flavor_changed,
    input_hash,
    kept_record,
    limiting_flavor,
    live_replicas,
    recorded_defaults,
    running_since,
    stored_record,
)
from .request import ServerRequest
from .service import service
from .settings import BuildSettings
from .storage import home_claim
from .workload import STATEFUL_SET, WORKLOAD_KINDS, workload

__all__ = [
    "STATEFUL_SET",
    "WORKLOAD_KINDS",
    "BuildSettings",
    "ServerRequest",
    "flavor_changed",
    "input_hash",
    "kept_record",
    "limiting_flavor",
    "live_replicas",
    "manifests",
    "recorded_defaults",
    "running_since",
    "stored_record",
]


def manifests(request: ServerRequest) -> list[Json]:
    """The children to apply, in order: home claims, keys ConfigMap, Services, a distributed server's own, workload.

    There is a home claim if the server has a home, and a Service with enableSSH. The workload is left out when it
    can't be rendered, which is when the flavor is missing and nothing recorded can be kept; a stored one is then to be
    left as it is. Raises ValueError for a user without a uid or a server without one: both must have been stored and
    set up before; and LayoutError, which is one, for a distributed server that its flavor doesn't fit and that is begun
    anew. Where the record is kept, its launchers are left out then: the stored ones are those of its pods.
    """
    server, user, uid = request.server, request.user, request.user.status.uid
    if uid is None:
        raise ValueError(f"user {user.name} has no uid yet")
    children = [
        *(
            home_claim(
                server,
                user,
                request.settings.storage_class,
                request.live_homes.get(name),
                request.today if request.running and not user.spec.suspended else None,
                name,
            )
            for name in home_names(server.name, server.replicas)
        ),
        keys_config_map(server, user, uid, request.user_ca_public, request.agent_public_key, request.replica_key),
        service(server, user) if server.spec.enable_ssh else None,
        *_of_replicas(request),
        workload(request, uid),
    ]
    return [child for child in children if child is not None]


def _of_replicas(request: ServerRequest) -> list[Json]:
    """What a distributed server has besides; without a flavor that fits only what doesn't depend on it."""
    server, user = request.server, request.user
    if server.replicas is None:
        return []
    network = [headless_service(server, user), network_policy(server, user)]
    try:
        layout = Layout.of(server, request.flavor) if request.flavor is not None else None
    except LayoutError:
        if request.kept is None:
            raise
        layout = None
    if layout is None:
        return network
    return [
        *network,
        launch_config_map(server, user, layout.replicas, layout.processes, request.host_ca_public),
    ]
