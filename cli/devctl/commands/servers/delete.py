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
from devctl.resources.home import is_home, kept_homes
from devctl.resources.replicas import create_command, create_command_of, replicas_by_homes, replicas_of
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
    server = _get_or_none(context, server_path(context.namespace, name), f"read {name}")
    homes = _homes(context, name, server)
    listed = " and ".join(str(home["metadata"]["name"]) for home in homes)
    the_home = f"home {listed}" if len(homes) == 1 else f"homes {listed}"
    it_is, it = ("is", "it") if len(homes) == 1 else ("are", "them")
    if server is None and not (purge and homes):
        if homes:
            raise CommandError(
                f"there is no server {name}, only its {the_home}",
                f"`devctl delete {name} --purge` deletes {'the home' if len(homes) == 1 else 'the homes'}, "
                f"{_used_again(name, None, homes)}",
                NOT_FOUND,
            )
        context.missing(name)
    what = f"server {name}" if server else ""
    if purge and homes:
        sizes = " and ".join(
            f"{home['metadata']['name']} ({home['spec']['resources']['requests'].get('storage', '')})" for home in homes
        )
        what += (" and " if what else "") + f"the {the_home.split(' ')[0]} {sizes} with everything in {it}"
    if not yes:
        confirm(f"deleting {what}", f"Delete {what}?", "nothing was deleted")
    claims = [str(home["metadata"]["name"]) for home in homes] if purge else []
    paths = [server_path(context.namespace, name)] if server else []
    for path in paths + [core_path(context.namespace, "persistentvolumeclaims", claim) for claim in claims]:
        try:
            context.kube.delete(path)
        except ApiError as error:
            if error.status != 404:
                raise from_api(error, f"delete {name}") from None
    if server:
        console.info(f"{name} is deleted")
    if purge:
        console.info(f"its {the_home} {it_is} deleted" if homes else "it had no home to delete")
    elif homes:
        console.info(f"its {the_home} {it_is} kept: {_used_again(name, server, homes)}")


def _homes(context: Context, name: str, server: Json | None) -> list[Json]:
    """The homes of a server, or all that a server of this name left."""
    from devservers_core.client.paths import core_path

    homes: list[Json] = []
    if server is None or replicas_of(server) is None:
        path = core_path(context.namespace, "persistentvolumeclaims", names.home_name(name))
        home = _get_or_none(context, path, f"read the home of {name}")
        homes += [home] if home is not None and is_home(home, name, distributed=False) else []
    if server is None or replicas_of(server) is not None:
        homes += kept_homes(context, name, distributed=True)
    return homes


def _used_again(name: str, server: Json | None, homes: list[Json]) -> str:
    """The commands that use kept homes of `server`, or of one of its name."""
    of_one = [home for home in homes if home["metadata"]["name"] == names.home_name(name)]
    of_replicas = [str(home["metadata"]["name"]) for home in homes if home not in of_one]
    it = "it" if len(homes) == 1 else "them"
    one = f"`{create_command(name, None, None)}` uses {it if not of_replicas else names.home_name(name)} again"
    if not of_replicas:
        return one
    command = create_command_of(server) if server else create_command(name, None, replicas_by_homes(name, of_replicas))
    if not of_one:
        return f"`{command}` uses {it} again"
    return f"{one}, `{command}` the other{'s' if len(of_replicas) > 1 else ''}"


def _get_or_none(context: Context, path: str, doing: str) -> Json | None:
    try:
        return context.kube.get(path)
    except ApiError as error:
        if error.status == 404 and error.details.get("name"):
            return None
        raise from_api(error, doing) from None
