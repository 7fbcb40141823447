"""`devctl user set`: changes what a user may use.

Invariant: only the fields that are named change, and only of a user that commands manage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devctl.output import console
from devctl.preflight import missing_flavors
from devctl.resources.people.managed_by import ensure_managed_by_command, manager, place, take_over_patch
from devctl.resources.people.user_changes import change_user
from devctl.resources.people.user_fields import changes_patch, differences
from devservers_core.errors import USAGE, CommandError
from devservers_core.names import MANAGED_BY_COMMAND

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


def user_set_command(
    context: Context,
    name: Annotated[str, typer.Argument(help="The user's name.")],
    flavors: Annotated[str | None, typer.Option(metavar="A,B", help="Flavors they may use; '' is all.")] = None,
    gpus: Annotated[str | None, typer.Option(help="Most GPUs at once.")] = None,
    cpu: Annotated[str | None, typer.Option(help="Most CPUs at once, like 16.")] = None,
    memory: Annotated[str | None, typer.Option(help="Most memory at once, like 64Gi.")] = None,
    storage: Annotated[str | None, typer.Option(help="Most storage of all their volumes, like 500Gi.")] = None,
    servers: Annotated[str | None, typer.Option(help="Most servers, stopped ones included.")] = None,
    snapshots: Annotated[str | None, typer.Option(help="Most snapshots of their volumes.")] = None,
    max_time: Annotated[str | None, typer.Option(help="Longest time to live of a server, like 5d.")] = None,
    max_extension: Annotated[str | None, typer.Option(help="Furthest extension of an end, like 12h.")] = None,
    max_idle_timeout: Annotated[str | None, typer.Option(help="Longest idle timeout, like 4h.")] = None,
    max_hold: Annotated[str | None, typer.Option(help="Longest hold, like 2d.")] = None,
    time_zone: Annotated[str | None, typer.Option(metavar="ZONE", help="Their time zone, like Europe/Berlin.")] = None,
    email: Annotated[str | None, typer.Option(help="Where to reach them.")] = None,
    dotfiles: Annotated[
        str | None, typer.Option(metavar="URL", help="Git repository of their set-up; their own choice wins.")
    ] = None,
    unset: Annotated[
        list[str] | None, typer.Option(metavar="FIELD", help="Remove what is set, like gpus; repeatable.")
    ] = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Manage them by command from now on, and not by a stack.")
    ] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Accept flavors that do not exist yet.")
    ] = False,
) -> None:
    """Change what a user may use; what isn't named stays.

    devctl user set ann --gpus 4 --memory 64Gi; an empty value removes a limit: --gpus ''
    """
    texts: dict[str, str | None] = {
        field: text
        for field, text in {
            "flavors": flavors, "gpus": gpus, "cpu": cpu, "memory": memory, "storage": storage,
            "servers": servers, "snapshots": snapshots,
            "max-time": max_time, "max-extension": max_extension, "max-idle-timeout": max_idle_timeout,
            "max-hold": max_hold, "time-zone": time_zone, "email": email, "dotfiles": dotfiles,
        }.items()
        if text is not None
    }  # fmt: skip
    if both := sorted(set(texts) & set(unset or [])):
        raise CommandError(f"--{both[0]} and --unset {both[0]} contradict each other", "give one of them", USAGE)
    texts |= dict.fromkeys(unset or [])
    if not texts and not take_over:
        raise CommandError("nothing to change is named", "`devctl user set --help` lists what there is", USAGE)
    patch = changes_patch(texts)
    for warning in missing_flavors(context, patch.get("flavors") or [], allow_missing):
        console.warn(warning)

    def patch_of(user: Json) -> Json | None:
        if not take_over:
            remedy = f", or `devctl user set {name} --take-over ...` to manage them by command from now on"
            ensure_managed_by_command(user, "change them", remedy)
        takes = take_over and manager(user) != MANAGED_BY_COMMAND
        if not takes and not differences(user.get("spec") or {}, patch):
            return None
        return {**patch, **(take_over_patch() if takes else {})}

    before, applied = change_user(context, name, patch_of)
    if applied is None:
        console.info(f"{name} is so already; nothing was changed")
        return
    changes = differences(before.get("spec") or {}, patch)
    if changes:
        console.info(f"{name}: {', '.join(changes)}")
    if "managedBy" in applied and place(before):
        console.info(f"{name} is managed by command from now on")
        console.warn(
            f"{name} is still in {place(before)}: `pulumi up` refuses the next change there as a conflict; to end "
            "that, `pulumi state delete` their resource and take them out of the file, in this order"
        )
