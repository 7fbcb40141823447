"""devctl stop, start, restart, delete.

Invariant: a server's home is deleted only by `delete --purge`, and only when it belongs to that server.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devctl import complete, render, values
from devctl.errors import from_api
from devservers_core import names
from devservers_core.errors import NOT_FOUND, REFUSED, USAGE, ApiError, CommandError

if TYPE_CHECKING:
    from devctl.session import Session
    from devservers_core.types import Json

Name = Annotated[str, typer.Argument(help="The server.", autocompletion=complete.servers)]
Wait = Annotated[
    str | None, typer.Option(metavar="[DURATION]", help="Wait until it is ready, 10m if no duration is given.")
]


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def now() -> str:
    """The time as the API writes it: RFC 3339, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _patch(session: Session, name: str, change: Json, doing: str) -> Json:
    from devservers_core.client.paths import server_path

    try:
        return session.kube.patch(server_path(session.namespace, name), change, fieldManager="devctl")
    except ApiError as error:
        if error.status == 404:
            session.missing(name)
        raise from_api(error, f"{doing} {name}") from None


def _limit(wait: str | None) -> int | None:
    return values.duration(wait, "--wait") if wait else None


def stop_command(
    session: Session,
    name: Name,
    wait: Annotated[
        str | None, typer.Option(metavar="[DURATION]", help="Wait until it is stopped, 10m if no duration is given.")
    ] = None,
    yes: Yes = False,
) -> int:
    """Stop a server and free what it uses. Its home stays; `devctl start` brings it back.

    Where the home, or another of its volumes, is being deleted, that is asked first: it goes when the server stops.
    """
    from devctl.home import at_stake

    limit = _limit(wait)
    server = session.server(name)
    if not server["spec"].get("running", True):
        render.say(f"{name} is stopped already")
    else:
        risk = at_stake(session, server)
        _spare(f"stopping {name}", f"Stop {name}?", risk, yes)
        server = _patch(session, name, {"spec": {"running": False}}, "stop")
        keeps = server["spec"].get("persistentHomeSize") or any(
            str(v.get("mountPath", "")).rstrip("/") == names.HOME_PATH for v in server["spec"].get("volumes") or []
        )
        kept = "its home is kept" if keeps else "it had no persistent home"
        render.say(f"{name} is stopping" + ("" if risk else f"; {kept}"))
    if limit is None:
        return 0
    from devctl.wait import wait_stopped

    return wait_stopped(session, server, limit)


def start_command(session: Session, name: Name, wait: Wait = None, yes: Yes = False) -> int:
    """Start a stopped server; its time to live begins anew. Where its home is gone meanwhile, that is asked first."""
    from devctl.home import at_stake, gone
    from devctl.pods import suspended

    limit = _limit(wait)
    server = session.server(name)
    running = server["spec"].get("running", True)
    stopped = (server.get("status") or {}).get("phase") in ("Stopped", "Stopping")
    if refused := suspended(server):
        raise refused
    if running and not stopped:
        render.say(f"{name} is started already")
    else:
        _spare(f"starting {name}", f"Start {name}?", at_stake(session, server) or gone(session, server), yes)
        change: dict[str, Any] = {
            "metadata": {"annotations": {names.ANNOTATION_STARTED_AT: now()}},
            "spec": {"running": True},
        }
        server = _patch(session, name, change, "start")
        render.say(f"{name} is starting")
    if limit is None:
        return 0
    from devctl.wait import wait_ready

    return wait_ready(session, server, limit)


def restart_command(
    session: Session,
    name: Name,
    wait: Wait = None,
    yes: Yes = False,
) -> int:
    """Restart a server with a fresh container: its processes end, its home stays.

    Changes of its flavor and of the platform's image take effect. A server that got its GPU from a queue gives it
    back and waits again; that is asked first.
    """
    limit = _limit(wait)
    server = session.server(name)
    if not server["spec"].get("running", True):
        raise CommandError(f"{name} is stopped", f"`devctl start {name}` starts it")
    from devctl.home import at_stake
    from devctl.pods import suspended
    from devctl.queue import gives_back

    if refused := suspended(server):
        raise refused
    _flavor_there(session, server)
    costs = [cost for cost in (at_stake(session, server), gives_back(session, server)) if cost]
    _spare(f"restarting {name}", f"Restart {name}?", "; ".join(costs), yes)
    pod = (server.get("status") or {}).get("podName")
    changed = _patch(session, name, {"metadata": {"annotations": {names.ANNOTATION_RESTARTED_AT: now()}}}, "restart")
    render.say(f"{name} is restarting")
    if limit is None:
        return 0
    from devctl.wait import wait_ready

    return wait_ready(session, changed, limit, other_than=pod or "none")


def _spare(doing: str, question: str, cost: str | None, yes: bool) -> None:
    """Say what something costs and ask, where it costs anything; raises CommandError for any answer but yes."""
    if not cost:
        return
    render.warn(f"{doing}: {cost}")
    if not yes:
        confirm(doing, question, f"{doing.split()[1]} is left as it is")


def _flavor_there(session: Session, server: Json) -> None:
    """Raise CommandError where a restart would change nothing, because the server's flavor is gone."""
    from devservers_core.client.paths import flavor_path

    name, flavor = server["metadata"]["name"], str(server["spec"].get("flavor"))
    try:
        session.kube.get(flavor_path(flavor))
    except ApiError as error:
        if error.status == 404:
            raise CommandError(
                f"{name} can't be restarted: its flavor {flavor} no longer exists; it is left as it is",
                "ask an administrator for the flavor, or make a server of another one: `devctl flavors`",
                REFUSED,
            ) from None


def delete_command(
    session: Session,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    purge: Annotated[bool, typer.Option("--purge", help="Delete its home as well. This cannot be undone.")] = False,
) -> None:
    """Delete a server. Its home stays, for a new server of the same name, unless --purge is given."""
    from devservers_core.client.paths import core_path, server_path

    values.server_name(name)
    claim_path = core_path(session.namespace, "persistentvolumeclaims", names.home_name(name))
    server = _exists(session, server_path(session.namespace, name), f"read {name}")
    home = _exists(session, claim_path, f"read the home of {name}")
    if home is not None and not _is_home(home, name):
        home = None
    if server is None and not (purge and home):
        if home is not None:
            raise CommandError(
                f"there is no server {name}, only its home {names.home_name(name)}",
                f"`devctl delete {name} --purge` deletes the home, `devctl create {name}` uses it again",
                NOT_FOUND,
            )
        session.missing(name)
    what = f"server {name}" if server else ""
    if purge and home:
        size = home["spec"]["resources"]["requests"].get("storage", "")
        what += (" and " if what else "") + f"the home {names.home_name(name)} ({size}) with everything in it"
    if not yes:
        confirm(f"deleting {what}", f"Delete {what}?", "nothing was deleted")
    try:
        if server:
            session.kube.delete(server_path(session.namespace, name))
        if purge and home:
            session.kube.delete(claim_path)
    except ApiError as error:
        if error.status != 404:
            raise from_api(error, f"delete {name}") from None
    if server:
        render.say(f"{name} is deleted")
    if purge:
        render.say(f"its home {names.home_name(name)} is deleted" if home else "it had no home to delete")
    elif home:
        render.say(f"its home {names.home_name(name)} is kept: `devctl create {name}` uses it again")


def _exists(session: Session, path: str, doing: str) -> Json | None:
    try:
        return session.kube.get(path)
    except ApiError as error:
        if error.status == 404 and error.details.get("name"):
            return None
        raise from_api(error, doing) from None


def _is_home(claim: Json, server: str) -> bool:
    """Whether a claim is the home the operator made for this server, and not just named like it."""
    metadata = claim["metadata"]
    return (metadata.get("annotations") or {}).get(names.ANNOTATION_HOME_OF) == server or (
        metadata.get("labels") or {}
    ).get(names.LABEL_NAME) == server


def confirm(doing: str, question: str, refused: str) -> None:
    """Ask before something is done; raises CommandError for any answer but yes."""
    if not sys.stdin.isatty():
        raise CommandError(f"{doing} needs a yes, and nobody can be asked here", "add --yes", USAGE)
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandError(refused, "answer y, or add --yes")
