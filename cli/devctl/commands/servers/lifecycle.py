"""`devctl stop`, `start` and `restart`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from devctl import validation
from devctl.options import ServerName, Wait, Yes
from devctl.output import console, times
from devctl.output.errors import from_api
from devctl.output.prompts import confirm
from devctl.resources.lifecycle.planned import is_stopped, lifecycle_of
from devctl.resources.server_state import phase
from devservers_core import names
from devservers_core.errors import REFUSED, ApiError, CommandError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


def _patch(context: Context, name: str, change: Json, doing: str) -> Json:
    from devservers_core.client.paths import server_path

    try:
        return context.kube.patch(server_path(context.namespace, name), change, fieldManager="devctl")
    except ApiError as error:
        if error.status == 404:
            context.missing(name)
        raise from_api(error, f"{doing} {name}") from None


def _limit(wait: str | None) -> int | None:
    return validation.duration(wait, "--wait") if wait else None


def stop_command(
    context: Context,
    name: ServerName,
    wait: Annotated[
        str | None, typer.Option(metavar="[DURATION]", help="Wait until it is stopped, 10m if no duration is given.")
    ] = None,
    yes: Yes = False,
) -> int:
    """Stop a server and free what it uses. A persistent home stays; `devctl start` brings the server back.

    If its home or another of its volumes is being deleted, you are asked first: it is lost when the server stops.
    """
    from devctl.resources.home import keeps_home, volumes_lost_by_stop

    limit = _limit(wait)
    server = context.server(name)
    if not server["spec"].get("running", True):
        console.info(f"{name} is stopped already")
    else:
        status = server.get("status") or {}
        current = status.get("observedGeneration") in (None, server["metadata"].get("generation"))
        already = phase(server) == "Stopped" and current and "stopReason" in status
        risk = volumes_lost_by_stop(context, server)
        _confirm_cost(f"stopping {name}", f"Stop {name}?", risk, yes)
        server = _patch(context, name, {"spec": {"running": False}}, "stop")
        home_note = "its home is kept" if keeps_home(server) else "it had no persistent home"
        # One that stopped by itself has nothing left to end; the change keeps a restart from starting it.
        state = "is stopped" if already else "is stopping"
        console.info(f"{name} {state}" + ("" if risk else f"; {home_note}"))
    if limit is None:
        return 0
    from devctl.wait import wait_stopped

    return wait_stopped(context, server, limit)


def start_command(context: Context, name: ServerName, wait: Wait = None, yes: Yes = False) -> int:
    """Start a stopped server; its time to live starts again. If its home is gone, you are asked first."""
    from devctl.resources.home import lost_home, volumes_lost_by_stop
    from devctl.resources.lifecycle.settings import time_over
    from devctl.resources.pods import suspended

    limit = _limit(wait)
    server = context.server(name)
    running = server["spec"].get("running", True)
    stopped = (server.get("status") or {}).get("phase") in ("Stopped", "Stopping")
    if refused := suspended(server):
        raise refused
    if running and not stopped:
        console.info(f"{name} is started already")
    else:
        if refused := time_over(server):
            raise refused
        _confirm_cost(
            f"starting {name}",
            f"Start {name}?",
            volumes_lost_by_stop(context, server) or lost_home(context, server),
            yes,
        )
        change: dict[str, Any] = {
            "metadata": {"annotations": {names.ANNOTATION_STARTED_AT: times.now()}},
            "spec": {"running": True},
        }
        if lifecycle_of(server).get("extendUntil"):
            change["spec"]["lifecycle"] = {"extendUntil": None}  # the time begins anew, without what was added to it
        server = _patch(context, name, change, "start")
        console.info(f"{name} is starting")
    if limit is None:
        return 0
    from devctl.wait import wait_ready

    return wait_ready(context, server, limit)


def restart_command(
    context: Context,
    name: ServerName,
    wait: Wait = None,
    yes: Yes = False,
) -> int:
    """Restart a server with a fresh container: its processes end, a persistent home stays.

    Changes of its flavor and of the platform's image take effect. A server that got its GPU from a queue gives it
    back and waits again; you are asked first.
    """
    limit = _limit(wait)
    server = context.server(name)
    if not server["spec"].get("running", True):
        raise CommandError(f"{name} is stopped", f"`devctl start {name}` starts it")
    from devctl.resources.home import volumes_lost_by_stop
    from devctl.resources.pods import suspended
    from devctl.resources.queue import restart_cost

    if refused := suspended(server):
        raise refused
    if is_stopped(server) and (server.get("status") or {}).get("stopReason") == names.STOPPED_BY_EXPIRATION:
        raise CommandError(
            f"{name} is stopped: its time was over",
            f"`devctl start {name}` starts it, and its time begins anew",
        )
    _check_flavor_exists(context, server)
    costs = [cost for cost in (volumes_lost_by_stop(context, server), restart_cost(context, server)) if cost]
    _confirm_cost(f"restarting {name}", f"Restart {name}?", "; ".join(costs), yes)
    changed = _patch(
        context, name, {"metadata": {"annotations": {names.ANNOTATION_RESTARTED_AT: times.now()}}}, "restart"
    )
    console.info(f"{name} is restarting")
    if limit is None:
        return 0
    from devctl.wait import wait_ready

    return wait_ready(context, changed, limit, before=server)


def _confirm_cost(doing: str, question: str, cost: str | None, yes: bool) -> None:
    """Warn of what an action loses and ask for confirmation; do nothing if it loses nothing.

    Raises CommandError for any answer but yes.
    """
    if not cost:
        return
    console.warn(f"{doing}: {cost}")
    if not yes:
        confirm(doing, question, f"{doing.split()[1]} is left as it is")


def _check_flavor_exists(context: Context, server: Json) -> None:
    """Raise CommandError if the server's flavor is gone: a restart would change nothing."""
    from devservers_core.client.paths import flavor_path

    name, flavor = server["metadata"]["name"], str(server["spec"].get("flavor"))
    try:
        context.kube.get(flavor_path(flavor))
    except ApiError as error:
        if error.status == 404:
            raise CommandError(
                f"{name} can't be restarted: its flavor {flavor} no longer exists; it is left as it is",
                "ask an administrator for the flavor, or make a server of another one: `devctl flavors`",
                REFUSED,
            ) from None
