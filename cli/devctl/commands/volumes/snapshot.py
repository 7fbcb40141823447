"""`devctl volume snapshot` and `devctl volume restore`.

Invariant: a restore makes a new volume and overwrites nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devctl import completion, validation
from devctl.options import Output, Yes
from devctl.output import console, tables, times
from devctl.output.errors import from_api
from devctl.output.prompts import confirm
from devctl.resources import home, home_quota
from devctl.resources.volumes import snapshots
from devctl.resources.volumes.creation import (
    HOME_SUFFIX,
    check_no_replicas_home,
    claim_manifest,
    create_claim,
    parse_size,
)
from devctl.resources.volumes.listing import read_volume, read_volumes
from devservers_core import names
from devservers_core.client.paths import SNAPSHOT_API_VERSION, SNAPSHOT_GROUP, snapshot_path
from devservers_core.errors import ApiError, CommandError

if TYPE_CHECKING:
    from devctl.context import Context

NewName = Annotated[str, typer.Argument(help="What the volume is to be called.")]
SnapshotName = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="The snapshot.")]
SNAPSHOT_SECONDS = 120.0
"""Seconds to wait for the snapshot's point in time."""


def volume_snapshot_create_command(
    context: Context,
    volume: Annotated[str, typer.Argument(help="The volume.", autocompletion=completion.claims)],
    name: Annotated[str | None, typer.Option(help="The snapshot's name; volume and time if not given.")] = None,
) -> None:
    """Take a snapshot of a volume. A running server's is what a power failure would leave."""
    validation.claim(volume, "the name")
    called = validation.claim(name or snapshots.default_name(volume), "--name")
    source = read_volume(context, volume)
    snapshots.take(context, source, called)
    snapshots.wait_taken(context, called, SNAPSHOT_SECONDS)
    console.info(
        f"the snapshot {called} of {volume} is taken; `devctl volume restore {called} NEW` makes a volume of it"
    )
    console.info(snapshots.sizes_in_words(snapshots.snapshots(context)))


def volume_snapshot_list_command(context: Context, output: Output = None) -> None:
    """List your snapshots."""
    form = context.output(output)
    items = snapshots.snapshots(context)
    if tables.print_objects(form, tables.as_list(items, SNAPSHOT_API_VERSION, "VolumeSnapshot"), "volumesnapshot"):
        return
    if not items:
        console.info("you have no snapshots; `devctl volume snapshot create VOLUME` takes one")
        return
    rows = [
        [
            item["metadata"]["name"],
            snapshots.source(item) or "-",
            snapshots.restore_size(item) or "-",
            snapshots.state(item),
            times.age(item["metadata"].get("creationTimestamp")),
        ]
        for item in items
    ]
    tables.table(["NAME", "VOLUME", "SIZE", "STATE", "AGE"], rows)


def volume_snapshot_delete_command(context: Context, name: SnapshotName, yes: Yes = False) -> None:
    """Delete a snapshot. Volumes made of it stay."""
    item = snapshots.snapshot(context, validation.claim(name, "the name"))
    what = f"the snapshot {name} of {snapshots.source(item) or 'a volume'}"
    if not yes:
        confirm(f"deleting {what}", f"Delete {what}?", "nothing was deleted")
    try:
        context.kube.delete(snapshot_path(context.namespace, name))
    except ApiError as error:
        if error.status != 404:
            raise from_api(error, f"delete {name}") from None
    console.info(f"the snapshot {name} is deleted")


def volume_restore_command(
    context: Context,
    snapshot: SnapshotName,
    name: NewName,
    size: Annotated[str | None, typer.Option(help="A larger size than the snapshot's.")] = None,
) -> None:
    """Make a new volume of a snapshot; the one it was taken of stays as it is.

    devctl volume restore mydev-home-20270131-142501 rescued
    """
    validation.claim(name, "the name")
    check_no_replicas_home(name)
    item = snapshots.snapshot(context, validation.claim(snapshot, "the name"))
    least = snapshots.restore_size(item)
    if snapshots.state(item) not in ("ready", "copying") or least is None:
        raise validation.refusal(
            f"the snapshot {snapshot} is {snapshots.state(item)}",
            "`devctl volume snapshot list` shows when it is ready",
        )
    storage = parse_size(size) if size else least
    if home.compare_sizes(storage, least) < 0:
        raise validation.refusal(f"the snapshot {snapshot} needs {least}, and --size is {storage}", "leave out --size")
    volumes = read_volumes(context)
    if any(volume.name == name for volume in volumes):
        raise CommandError(f"there is a volume {name} already", "choose another name; a restore overwrites nothing")
    sources = {volume.name: volume for volume in volumes}
    source = sources.get(snapshots.source(item) or "")
    chosen = source.storage_class if source else None
    home_quota.check_volume_quota(context, name, storage, chosen)
    claim = claim_manifest(name, storage, chosen, "ReadWriteOnce")
    claim["spec"]["dataSource"] = {"apiGroup": SNAPSHOT_GROUP, "kind": "VolumeSnapshot", "name": snapshot}
    owner = name.removesuffix(HOME_SUFFIX)
    if owner != name:
        claim["metadata"]["annotations"] = {names.ANNOTATION_HOME_OF: owner}
    create_claim(context, claim)
    then = f"devctl create {owner}" if owner != name else f"devctl create NAME -v {name}:/{name}"
    console.info(f"the volume {name} ({storage}) is made of {snapshot}; `{then}` mounts it")
