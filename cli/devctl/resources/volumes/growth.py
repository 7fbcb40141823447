"""Makes a volume larger, and waits until its file system is.

Invariant: a volume is never asked to become smaller, and a claim that somebody else changed meanwhile stays as it is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from devctl.output.errors import from_api
from devctl.resources import home
from devctl.resources.volumes import classes
from devctl.resources.volumes.volume import Volume
from devctl.validation import refusal
from devservers_core.client.paths import core_path, server_path
from devservers_core.errors import FAILURE, TIMED_OUT, ApiError, CommandError, one_line

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json

POLL_SECONDS = 1.0
_FAILED = ("ControllerResizeError", "NodeResizeError")
"""Conditions of a claim that say why its resize doesn't go on."""


def check(context: Context, volume: Volume, size: str) -> None:
    """Raise CommandError when the volume can't grow to ``size``."""
    name, have = volume.name, home.requested(volume.claim) or "0"
    if volume.deleting:
        raise refusal(f"{name} is being deleted", "`devctl volume create` makes another one")
    if home.compare_sizes(size, have) == 0:
        raise refusal(f"{name} has {have} already", "give a larger size")
    if home.compare_sizes(size, have) < 0:
        raise refusal(
            f"{name} has {have}, and a volume can't be made smaller",
            f"`devctl volume create OTHER --size {size}` makes a smaller one to move the files to",
        )
    if not volume.bound:
        raise refusal(
            f"{name} has no disk yet: no server has mounted it, and only a volume with a disk can grow",
            f"start a server with it, or delete it and make it with {size}",
        )
    class_items = classes.storage_classes(context)
    storage_class = volume.storage_class
    item = (class_items or {}).get(storage_class or "")
    if class_items is not None and (item is None or not classes.can_grow(item)):
        raise refusal(
            f"volumes of class {storage_class or 'none'} can't grow, so {name} stays at {have}",
            f"`devctl volume create OTHER --size {size}` makes a larger one to copy the files to",
        )


def request(context: Context, volume: Volume, size: str) -> None:
    """Request the larger size. Raises CommandError.

    A home of a server that exists grows by its server, which holds the size that is wanted.
    """
    name, namespace = volume.name, context.namespace
    try:
        if volume.home_of is not None and not volume.kept and volume.home_of in volume.wanted_by:
            context.kube.patch(server_path(namespace, volume.home_of), {"spec": {"persistentHomeSize": size}})
            return
        version = volume.claim["metadata"].get("resourceVersion")
        body: Json = {
            "metadata": {"resourceVersion": version},
            "spec": {"resources": {"requests": {"storage": size}}},
        }
        context.kube.patch(core_path(namespace, "persistentvolumeclaims", name), body)
    except ApiError as error:
        if error.status == 409:
            raise CommandError(
                f"{name} was changed by somebody else at the same moment, and is left as it is",
                "`devctl volume list` shows what it has; try again",
                FAILURE,
            ) from None
        raise from_api(error, f"make {name} larger") from None


def wait(context: Context, volume: Volume, size: str, limit: float) -> str:
    """Wait until the volume has ``size``; return a sentence about its file system. Raises CommandError.

    ``limit`` is in seconds.
    """
    path = core_path(context.namespace, "persistentvolumeclaims", volume.name)
    deadline = time.monotonic() + limit
    while True:
        try:
            claim = context.kube.get(path)
        except ApiError as error:
            raise from_api(error, f"read {volume.name}") from None
        sentence = outcome(claim, size, volume.mounted_by)
        if sentence is not None:
            return sentence
        if time.monotonic() >= deadline:
            raise CommandError(
                f"{volume.name} has not grown to {size} yet{_condition_text(claim)}",
                pending_advice(claim, volume.mounted_by),
                TIMED_OUT,
            )
        time.sleep(min(POLL_SECONDS, max(deadline - time.monotonic(), 0)))


def outcome(claim: Json, size: str, mounted_by: tuple[str, ...]) -> str | None:
    """What came of the growth, None as long as it goes on. Pure."""
    name = claim["metadata"]["name"]
    capacity = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
    if capacity is not None and home.compare_sizes(str(capacity), size) >= 0:
        return f"{name} has {capacity} now, its file system too"
    if _conditions(claim).get("FileSystemResizePending") is not None and not mounted_by:
        return f"the disk of {name} has {size} now; its file system grows when a server that mounts it starts"
    return None


def pending_advice(claim: Json, mounted_by: tuple[str, ...]) -> str:
    """What to do about a growth that is not done in time."""
    if _conditions(claim).get("FileSystemResizePending") is not None and mounted_by:
        return f"its disk has grown; `devctl restart {mounted_by[0]}` lets the file system follow"
    return "it goes on by itself; `devctl volume list` shows its size"


def _conditions(claim: Json) -> dict[str, Json]:
    conditions = (claim.get("status") or {}).get("conditions") or []
    return {str(condition.get("type")): condition for condition in conditions if condition.get("status") == "True"}


def _condition_text(claim: Json) -> str:
    conditions = _conditions(claim)
    messages = [str(conditions[type_].get("message") or "") for type_ in _FAILED if type_ in conditions]
    return f": {one_line(messages[0])}" if messages and messages[0] else ""
