"""`devctl delete`: deletes a server, and with --purge its home.

Invariant: a server's home is deleted only by `delete --purge`, and only when it belongs to that server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from devctl import validation
from devctl.options import ServerName
from devctl.output import console
from devctl.output.errors import from_api
from devctl.output.prompts import confirm
from devservers_core import names
from devservers_core.errors import NOT_FOUND, ApiError, CommandError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


def delete_command(
    context: Context,
    name: ServerName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    purge: Annotated[bool, typer.Option("--purge", help="Delete its home as well. This cannot be undone.")] = False,
) -> None:
    """Delete a server. A persistent home stays, for a new server of its name, unless --purge is given."""
    from devservers_core.client.paths import core_path, server_path

    validation.server_name(name)
    claim_path = core_path(context.namespace, "persistentvolumeclaims", names.home_name(name))
    server = _get_or_none(context, server_path(context.namespace, name), f"read {name}")
    home = _get_or_none(context, claim_path, f"read the home of {name}")
    if home is not None and not _is_home(home, name):
        home = None
    if server is None and not (purge and home):
        if home is not None:
            raise CommandError(
                f"there is no server {name}, only its home {names.home_name(name)}",
                f"`devctl delete {name} --purge` deletes the home, `devctl create {name}` uses it again",
                NOT_FOUND,
            )
        context.missing(name)
    what = f"server {name}" if server else ""
    if purge and home:
        size = home["spec"]["resources"]["requests"].get("storage", "")
        what += (" and " if what else "") + f"the home {names.home_name(name)} ({size}) with everything in it"
    if not yes:
        confirm(f"deleting {what}", f"Delete {what}?", "nothing was deleted")
    try:
        if server:
            context.kube.delete(server_path(context.namespace, name))
        if purge and home:
            context.kube.delete(claim_path)
    except ApiError as error:
        if error.status != 404:
            raise from_api(error, f"delete {name}") from None
    if server:
        console.info(f"{name} is deleted")
    if purge:
        console.info(f"its home {names.home_name(name)} is deleted" if home else "it had no home to delete")
    elif home:
        console.info(f"its home {names.home_name(name)} is kept: `devctl create {name}` uses it again")


def _get_or_none(context: Context, path: str, doing: str) -> Json | None:
    try:
        return context.kube.get(path)
    except ApiError as error:
        if error.status == 404 and error.details.get("name"):
            return None
        raise from_api(error, doing) from None


def _is_home(claim: Json, server: str) -> bool:
    """Whether the operator made this claim as the server's home; its name proves nothing."""
    metadata = claim["metadata"]
    return (metadata.get("annotations") or {}).get(names.ANNOTATION_HOME_OF) == server or (
        metadata.get("labels") or {}
    ).get(names.LABEL_NAME) == server
