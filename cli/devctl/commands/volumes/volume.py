"""`devctl volume`: makes, lists, grows and deletes volumes.

Invariant: a volume that a server mounts or wants is never deleted; what is asked for is checked before the first write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devctl import completion, validation
from devctl.options import Output, Yes
from devctl.output import console, tables, times
from devctl.output.errors import from_api
from devctl.output.prompts import confirm
from devctl.resources import home_quota
from devctl.resources.volumes import classes, growth
from devctl.resources.volumes.creation import (
    HOME_SUFFIX,
    check_no_replicas_home,
    claim_manifest,
    create_claim,
    parse_size,
)
from devctl.resources.volumes.listing import read_volume, read_volumes
from devctl.resources.volumes.volume import Volume, document, size_text
from devservers_core.client.paths import core_path
from devservers_core.errors import ApiError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json

Name = Annotated[str, typer.Argument(help="The volume.", autocompletion=completion.claims)]
NewName = Annotated[str, typer.Argument(help="What the volume is to be called.")]
Size = Annotated[str, typer.Option(help="Like 100Gi.")]
GROW_SECONDS = 300.0
"""Seconds to wait for the disk and its file system; a cloud takes a minute or two."""


def volume_create_command(
    context: Context,
    name: NewName,
    size: Size,
    storage_class: Annotated[
        str | None,
        typer.Option("--class", metavar="CLASS", help="The storage class; the cluster's default if not given."),
    ] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="A volume that many servers can mount at once, where the cluster can.")
    ] = False,
) -> None:
    """Make a volume. A server mounts it with `devctl create NAME -v VOLUME:/PATH`.

    devctl volume create data --size 100Gi
    """
    validation.claim(name, "the name")
    if name.endswith(HOME_SUFFIX):
        raise validation.refusal(
            f"{name} is the name of the home of the server {name.removesuffix(HOME_SUFFIX)}",
            f"choose a name that doesn't end in {HOME_SUFFIX}",
        )
    check_no_replicas_home(name)
    storage = parse_size(size)
    chosen = classes.class_of_new(context, storage_class, shared=shared)
    counted = chosen or classes.default_class(classes.storage_classes(context) or {})
    home_quota.check_volume_quota(context, name, storage, counted)
    create_claim(context, claim_manifest(name, storage, chosen, "ReadWriteMany" if shared else "ReadWriteOnce"))
    console.info(
        f"the volume {name} ({storage}) is made; `devctl create NAME -v {name}:/{name}` mounts it in a new server"
    )


def volume_list_command(context: Context, output: Output = None) -> None:
    """List your volumes: size, use, who mounts them. Kept homes of deleted servers are among them."""
    form = context.output(output)
    volumes = read_volumes(context)
    if form in ("json", "yaml"):
        documents = [document(volume) for volume in volumes]
        console.echo(tables.to_json(documents) if form == "json" else tables.to_yaml(documents).rstrip())
    elif form == "name":
        for volume in volumes:
            console.echo(f"persistentvolumeclaim/{volume.name}")
    elif not volumes:
        console.info("you have no volumes; `devctl volume create NAME --size 10Gi` makes one")
    else:
        header = ["NAME", "SIZE", "USED", "CLASS", "MOUNTED BY", "HOME OF", "LAST USED"]
        tables.table([*header, *(["AGE"] if form == "wide" else [])], [_row(volume, form) for volume in volumes])


def volume_grow_command(context: Context, name: Name, size: Size) -> None:
    """Make a volume larger, and wait until its file system is. Files stay, servers go on."""
    validation.claim(name, "the name")
    storage = parse_size(size)
    volume = read_volume(context, name)
    growth.check(context, volume, storage)
    home_quota.check_volume_quota(context, name, storage, volume.storage_class)
    growth.request(context, volume, storage)
    console.info(f"{name} grows from {volume.size or '0'} to {storage}")
    console.info(growth.wait(context, volume, storage, GROW_SECONDS))


def volume_delete_command(context: Context, name: Name, yes: Yes = False) -> None:
    """Delete a volume with everything in it. This cannot be undone."""
    validation.claim(name, "the name")
    volume = read_volume(context, name)
    _refuse_used(volume)
    what = f"the volume {name} ({volume.size or 'no disk yet'}, {size_text(volume.used_bytes)} used)"
    if volume.kept:
        what = f"the kept home {name} of the deleted server {volume.home_of} ({volume.size or 'no disk yet'})"
    if not yes:
        confirm(f"deleting {what}", f"Delete {what} with everything in it?", "nothing was deleted")
    path = core_path(context.namespace, "persistentvolumeclaims", name)
    # By uid: another volume may have been made under the name since the question was asked.
    body: Json = {"preconditions": {"uid": volume.claim["metadata"].get("uid")}, "propagationPolicy": "Background"}
    try:
        context.kube.request("DELETE", path, body=body)
    except ApiError as error:
        if error.status != 404:
            raise from_api(error, f"delete {name}") from None
    console.info(f"the volume {name} is deleted")


def _refuse_used(volume: Volume) -> None:
    """Raise CommandError for a volume that a server mounts or wants."""
    name = volume.name
    if volume.home_of in volume.wanted_by and not volume.kept:
        raise validation.refusal(
            f"{name} is the home of the server {volume.home_of}",
            f"`devctl delete {volume.home_of} --purge` deletes both",
        )
    if volume.mounted_by:
        raise validation.refusal(
            f"{name} is mounted by {', '.join(volume.mounted_by)}",
            f"stop it first (`devctl stop {volume.mounted_by[0]}`); a volume in use is never deleted",
        )
    if volume.wanted_by:
        raise validation.refusal(
            f"{name} is mounted by {', '.join(volume.wanted_by)} at the next start",
            f"delete the server first (`devctl delete {volume.wanted_by[0]}`), or keep the volume",
        )


def _row(volume: Volume, form: str) -> list[str]:
    mounted = [
        *volume.mounted_by,
        *(f"{server} (stopped)" for server in volume.wanted_by if server not in volume.mounted_by),
    ]
    last = "now" if volume.mounted_by else times.age(volume.last_used.isoformat()) if volume.last_used else "-"
    row = [
        volume.name,
        (volume.size or "-") + (" (deleting)" if volume.deleting else "" if volume.bound else " (no disk yet)"),
        size_text(volume.used_bytes),
        volume.storage_class or "-",
        ", ".join(mounted) or "-",
        f"{volume.home_of} (deleted)" if volume.kept else volume.home_of or "-",
        last if last in ("now", "-") else f"{last} ago",
    ]
    return [*row, *([times.age(volume.claim["metadata"].get("creationTimestamp"))] if form == "wide" else [])]
