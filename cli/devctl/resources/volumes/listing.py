"""Reads the volumes of the user's namespace, with the servers and pods that use them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from devctl.output.errors import from_api
from devctl.resources.volumes.volume import Volume, volumes
from devservers_core.client.paths import core_path
from devservers_core.errors import NOT_FOUND, ApiError, CommandError

if TYPE_CHECKING:
    from devctl.context import Context


def read_volumes(context: Context) -> list[Volume]:
    """The volumes by name. Raises CommandError."""
    try:
        claims, pods = (
            list(context.kube.get(core_path(context.namespace, resource)).get("items") or [])
            for resource in ("persistentvolumeclaims", "pods")
        )
    except ApiError as error:
        raise from_api(error, "list volumes") from None
    return volumes(claims, context.servers(), pods)


def read_volume(context: Context, name: str) -> Volume:
    """One volume. Raises CommandError, with a similar name when there is none."""
    volumes = read_volumes(context)
    for volume in volumes:
        if volume.name == name:
            return volume
    similar = get_close_matches(name, [volume.name for volume in volumes], 1)
    raise CommandError(
        f"there is no volume {name} in {context.namespace}",
        (f"did you mean {similar[0]}? " if similar else "") + "`devctl volume list` shows yours",
        NOT_FOUND,
    )
