"""Snapshots of volumes, where the cluster has VolumeSnapshots and a class for the volume's driver.

Invariant: read-only but for `take`; a snapshot is never overwritten.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from devctl.output.errors import from_api
from devctl.resources.volumes import classes
from devctl.resources.volumes.volume import Volume, size_text
from devctl.validation import refusal
from devservers_core.client.paths import SNAPSHOT_API_VERSION, SNAPSHOT_CLASSES, snapshot_path
from devservers_core.errors import FORBIDDEN, NOT_FOUND, TIMED_OUT, ApiError, CommandError, one_line
from devservers_core.quantity import quantity_or_zero

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json

POLL_SECONDS = 1.0
_DEFAULT = "snapshot.storage.kubernetes.io/is-default-class"
MAX_NAME = 253
_NO_CLASS = "back up its files instead: `devctl ssh NAME 'tar czf - -C ~ .' > home.tgz`"


def snapshots(context: Context) -> list[Json]:
    """The snapshots by name. Raises CommandError, also where the cluster has none at all."""
    try:
        items = list(context.kube.get(snapshot_path(context.namespace)).get("items") or [])
    except ApiError as error:
        raise _explain(error, "list snapshots") from None
    return sorted(items, key=lambda item: str(item["metadata"]["name"]))


def snapshot(context: Context, name: str) -> Json:
    """One snapshot. Raises CommandError."""
    by_name = {item["metadata"]["name"]: item for item in snapshots(context)}
    if name not in by_name:
        raise CommandError(
            f"there is no snapshot {name} in {context.namespace}",
            "`devctl volume snapshot list` shows yours",
            NOT_FOUND,
        )
    return by_name[name]


def snapshot_class(context: Context, volume: Volume) -> str:
    """The VolumeSnapshotClass for a volume: the default one of its driver, else the first. Raises CommandError."""
    try:
        items = list(context.kube.get(SNAPSHOT_CLASSES).get("items") or [])
    except ApiError as error:
        raise _explain(error, "read the snapshot classes") from None
    storage_class = (classes.storage_classes(context) or {}).get(volume.storage_class or "") or {}
    driver = storage_class.get("provisioner")
    usable = [item for item in items if driver is None or item.get("driver") == driver]
    if not usable:
        raise refusal(
            f"volumes of class {volume.storage_class} can't be snapshotted on this cluster: no VolumeSnapshotClass has "
            f"their driver, {driver}",
            _NO_CLASS,
        )
    usable.sort(
        key=lambda item: ((item["metadata"].get("annotations") or {}).get(_DEFAULT) != "true", item["metadata"]["name"])
    )
    return str(usable[0]["metadata"]["name"])


def take(context: Context, volume: Volume, name: str) -> Json:
    """Take a snapshot of a volume. Raises CommandError."""
    if not volume.bound:
        raise refusal(f"{volume.name} has no disk yet, so there is nothing to snapshot", "start a server with it first")
    body = {
        "apiVersion": SNAPSHOT_API_VERSION,
        "kind": "VolumeSnapshot",
        "metadata": {"name": name},
        "spec": {
            "volumeSnapshotClassName": snapshot_class(context, volume),
            "source": {"persistentVolumeClaimName": volume.name},
        },
    }
    try:
        return context.kube.create(snapshot_path(context.namespace), body)
    except ApiError as error:
        if error.status == 409:
            raise CommandError(f"there is a snapshot {name} already", "give another --name") from None
        raise _explain(error, f"snapshot {volume.name}") from None


def wait_taken(context: Context, name: str, limit: float) -> Json:
    """Wait until the snapshot has its point in time; later writes are not in it. Raises CommandError.

    ``limit`` is in seconds.
    """
    deadline = time.monotonic() + limit
    while True:
        try:
            current = context.kube.get(snapshot_path(context.namespace, name))
        except ApiError as error:
            raise _explain(error, f"read the snapshot {name}") from None
        status = current.get("status") or {}
        if status.get("creationTime"):
            return current
        problem = one_line(str((status.get("error") or {}).get("message") or ""))
        if time.monotonic() >= deadline:
            raise CommandError(
                f"the snapshot {name} is not taken yet" + (f": {problem}" if problem else ""),
                f"`devctl volume snapshot list` shows when it is, `devctl volume snapshot delete {name}` gives it up",
                TIMED_OUT,
            )
        time.sleep(min(POLL_SECONDS, max(deadline - time.monotonic(), 0)))


def default_name(volume: str, now: datetime | None = None) -> str:
    """A snapshot's name: the volume's and the time in UTC, `data-20270131-142501`."""
    stamp = f"{now or datetime.now(UTC):%Y%m%d-%H%M%S}"
    return f"{volume[: MAX_NAME - len(stamp) - 1]}-{stamp}"


def source(item: Json) -> str | None:
    """The volume that a snapshot was taken of."""
    return ((item.get("spec") or {}).get("source") or {}).get("persistentVolumeClaimName")


def state(item: Json) -> str:
    """How far a snapshot is: ready, copying, failed, waiting or deleting."""
    status = item.get("status") or {}
    if item["metadata"].get("deletionTimestamp"):
        return "deleting"
    if status.get("readyToUse"):
        return "ready"
    if (status.get("error") or {}).get("message"):
        return "failed"
    return "copying" if status.get("creationTime") else "waiting"


def restore_size(item: Json) -> str | None:
    """The least size of a volume that is made from a snapshot; None when it isn't known yet."""
    size = (item.get("status") or {}).get("restoreSize")
    return str(size) if size else None


def sizes_in_words(items: Sequence[Json]) -> str:
    """How much all snapshots may hold together, as a sentence; those whose size isn't known yet are named as such."""
    sizes = [int(quantity_or_zero(size)) for item in items if (size := restore_size(item))]
    unknown = len(items) - len(sizes)
    text = f"your {len(items)} snapshots" if len(items) != 1 else "your only snapshot"
    if not sizes:
        return f"how much {text} may hold is not known yet"
    more = f", and {unknown} whose size is not known yet" if unknown else ""
    return f"{text} may hold {size_text(sum(sizes))} in all{more}; they are paid for, and no storage quota counts them"


def _explain(error: ApiError, doing: str) -> CommandError:
    if error.status == 404 and not error.details.get("name"):
        return CommandError("this cluster can't take snapshots of volumes: it has no VolumeSnapshots", _NO_CLASS)
    if error.status == 403 and "cannot" in error.message and "snapshot" in error.message:
        return CommandError(
            "you may not read or take snapshots of volumes here",
            "ask an administrator to update the platform",
            FORBIDDEN,
        )
    return from_api(error, doing)
