"""Writes a new volume claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devctl import validation
from devctl.output.errors import from_api
from devservers_core import names
from devservers_core.client.paths import core_path
from devservers_core.errors import ApiError, CommandError
from devservers_core.replicas import server_of_home

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json

HOME_SUFFIX = names.home_name("")
"""What the names of homes end in."""


def parse_size(text: str) -> str:
    """The size of a volume. Raises CommandError."""
    size = validation.home_size(text, "--size")
    if size is None:
        raise validation.refusal(f"--size {text!r} is no size of a volume", "write it like 10Gi")
    return size


def check_no_replicas_home(name: str) -> None:
    """Raise CommandError for a name that the home of a distributed server's replica has, or would have.

    The operator takes a claim of such a name for the home, and `devctl delete --purge` deletes it.
    """
    if server := server_of_home(name):
        raise validation.refusal(
            f"{name} is the name of the home of a replica of the server {server}",
            "choose a name that isn't home-SERVER-NUMBER",
        )


def claim_manifest(name: str, size: str, storage_class: str | None, access: str) -> Json:
    """The manifest of a claim; without a class it gets the default one of the cluster."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": [access],
            **({"storageClassName": storage_class} if storage_class else {}),
            "resources": {"requests": {"storage": size}},
        },
    }


def create_claim(context: Context, claim: Json) -> None:
    """Create a claim. Raises CommandError."""
    name = claim["metadata"]["name"]
    try:
        context.kube.create(core_path(context.namespace, "persistentvolumeclaims"), claim)
    except ApiError as error:
        if error.status == 409 and error.reason == "AlreadyExists":
            raise CommandError(
                f"there is a volume {name} already", "choose another name; `devctl volume list` shows yours"
            ) from None
        raise from_api(error, f"make the volume {name}") from None
