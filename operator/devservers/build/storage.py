"""A server's home claim, and the volumes and mounts of its pod.

Invariant: a home only ever grows; it is never made smaller, moved or deleted here. The claim has no ownerReference, so
that deleting the server keeps it; a server of the same name uses it again, with the size, access modes and class it
has.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from devservers.api.devserver import DevServer
from devservers.api.user import DevServerUser
from devservers_core.names import ANNOTATION_HOME_OF, ANNOTATION_LAST_USED, HOME_PATH, SHARED_PATH, TMP_PATH, home_name
from devservers_core.quantity import canonical, parse_quantity
from devservers_core.replicas import HOME_TEMPLATE
from devservers_core.types import Json

from .manifest import child_labels, compact


@dataclass(frozen=True, slots=True)
class Storage:
    """Pod volumes and the main container's mounts, in matching order."""

    volumes: tuple[Json, ...]
    mounts: tuple[Json, ...]


def home_claim(
    server: DevServer,
    user: DevServerUser,
    storage_class: str | None,
    live: Json | None,
    used_on: date | None,
    name: str,
) -> Json | None:
    """The claim of a home, called `name`; None when the server has no persistent home.

    `used_on` is the day on which the server runs, None while it doesn't: the claim keeps the last such day, which is
    one write a day and outlives the server.

    Growth is requested as soon as the stored claim is bound (the API refuses to resize an unbound one); a smaller size
    keeps the stored one. Everything else of a stored claim is immutable and therefore repeated as it is.
    """
    requested = server.spec.persistent_home_size
    if requested is None:
        return None
    spec: Json = {"accessModes": ["ReadWriteOnce"], "storageClassName": storage_class}
    size = canonical(requested)
    if live is not None:
        stored = live.get("spec") or {}
        spec = {"accessModes": stored.get("accessModes"), "storageClassName": stored.get("storageClassName")}
        size = _size(size, stored, bound=(live.get("status") or {}).get("phase") == "Bound")
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": name,
            "namespace": user.namespace,
            "labels": child_labels(server.name, user.name),
            "annotations": compact({ANNOTATION_HOME_OF: server.name, ANNOTATION_LAST_USED: _last_used(live, used_on)}),
        },
        "spec": {**compact(spec), "resources": {"requests": {"storage": size}}},
    }


def _last_used(live: Json | None, used_on: date | None) -> str | None:
    if used_on is not None:
        return used_on.isoformat()
    return (((live or {}).get("metadata") or {}).get("annotations") or {}).get(ANNOTATION_LAST_USED)


def _size(requested: str, stored: Json, *, bound: bool) -> str:
    live = ((stored.get("resources") or {}).get("requests") or {}).get("storage")
    if live is None:
        return requested
    grows = bound and parse_quantity(requested) > parse_quantity(live)
    return requested if grows else canonical(live)


def home_template(server: DevServer, user: DevServerUser, storage_class: str | None, live: Json | None) -> Json | None:
    """The volume claim template of a distributed server's homes; `live` is the stored one, which nothing may change.

    The claims are made by their own manifests before Kubernetes would make them, so that they grow.
    """
    claim = home_claim(server, user, storage_class, None, None, HOME_TEMPLATE)
    if claim is None:
        return None
    metadata = {name: value for name, value in claim["metadata"].items() if name != "namespace"}
    spec = claim["spec"]
    if live is not None:
        stored = live.get("spec") or {}
        spec = compact({"accessModes": stored.get("accessModes"), "storageClassName": stored.get("storageClassName")})
        spec |= {"resources": {"requests": (stored.get("resources") or {}).get("requests") or {}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def storage(server: DevServer, disk: str) -> Storage:
    """The volumes and mounts: home, shared volume, the user's own volumes and /tmp.

    A claim mounted twice is one pod volume. The home is the claim of persistentHomeSize, else a volume mounted at the
    home path, else an emptyDir that is deleted with the pod. /tmp is a volume of the user's or an emptyDir too: in an
    image it may be missing, or writable for root only. `disk` is the most that an emptyDir may take.
    """
    spec = server.spec
    mounted = [(volume.claim_name, normal_path(volume.mount_path), volume.read_only) for volume in spec.volumes]
    if spec.shared_volume_claim_name:
        mounted.append((spec.shared_volume_claim_name, SHARED_PATH, False))
    volumes: list[Json] = []
    mounts: list[Json] = []
    names: dict[str, str] = {}

    def claim(claim_name: str, volume_name: str) -> str:
        if claim_name not in names:
            names[claim_name] = volume_name
            volumes.append({"name": volume_name, "persistentVolumeClaim": {"claimName": claim_name}})
        return names[claim_name]

    if spec.persistent_home_size is not None and server.replicas is not None:
        # Kubernetes adds the volume: each replica's own, by the claim template.
        mounts.append({"name": HOME_TEMPLATE, "mountPath": HOME_PATH})
    elif spec.persistent_home_size is not None:
        mounts.append({"name": claim(home_name(server.name), "home"), "mountPath": HOME_PATH})
    elif all(path != HOME_PATH for _, path, _ in mounted):
        volumes.append({"name": "home", "emptyDir": {"sizeLimit": disk}})
        mounts.append({"name": "home", "mountPath": HOME_PATH})
    if all(path != TMP_PATH for _, path, _ in mounted):
        volumes.append({"name": "tmp", "emptyDir": {"sizeLimit": disk}})
        mounts.append({"name": "tmp", "mountPath": TMP_PATH})
    for index, (claim_name, path, read_only) in enumerate(mounted):
        mounts.append(compact({"name": claim(claim_name, f"claim-{index}"), "mountPath": path, "readOnly": read_only}))
    return Storage(tuple(volumes), tuple(mounts))


def normal_path(path: str) -> str:
    """`path` without trailing slashes, as paths are compared."""
    return path.rstrip("/") or "/"
