"""`devctl update`: changes a server and keeps its volumes.

Invariant: what can't fit is refused before anything stops; what is lost is said and confirmed first; then there is one
write, which counts on the object that was read.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from devctl import completion, preflight, validation
from devctl.options import (
    Grace,
    IdleTimeout,
    SecretFiles,
    SecretVariables,
    ServerName,
    TimeLimitOption,
    UnsetSecrets,
    Yes,
)
from devctl.output import console, times
from devctl.output.prompts import confirm
from devctl.resources import home_quota, secret_references
from devctl.resources.home import keeps_home, volumes_lost_by_stop
from devctl.resources.lifecycle import fit, limits, settings, zone
from devctl.resources.lifecycle.changes import Changes
from devctl.resources.lifecycle.planned import is_stopped
from devctl.resources.lifecycle.write import change_server
from devctl.resources.people.server_secrets import warn_of_missing
from devctl.resources.queue import restart_cost
from devctl.resources.replicas import create_command_of, replicas_of
from devctl.resources.server_state import true_message
from devservers_core import names
from devservers_core.errors import USAGE, CommandError
from devservers_core.grammar import ENV_NAME, ENV_NAME_MAX, fits

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


OBSERVED_SECONDS = 10.0
"""Seconds in which the operator says whether a limit makes a time setting shorter."""


def update_command(
    context: Context,
    name: ServerName,
    flavor: Annotated[
        str | None, typer.Option(metavar="FLAVOR", help="Another size.", autocompletion=completion.flavors)
    ] = None,
    image: Annotated[str | None, typer.Option(metavar="IMAGE", help="Another container image.")] = None,
    home_size: Annotated[
        str | None, typer.Option("--home-size", metavar="SIZE", help="A larger home, like 50Gi; it is not restarted.")
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("-e", "--env", metavar="KEY=VALUE", help="Set a variable. Repeatable."),
    ] = None,
    unset_env: Annotated[
        list[str] | None, typer.Option("--unset-env", metavar="KEY", help="Remove a variable. Repeatable.")
    ] = None,
    secret: SecretVariables = None,
    secret_file: SecretFiles = None,
    unset_secret: UnsetSecrets = None,
    time_limit: TimeLimitOption = None,
    idle_timeout: IdleTimeout = None,
    grace: Grace = None,
    wait: Annotated[
        str | None,
        typer.Option(metavar="[DURATION]", help="How long to wait until it is ready again; 10m if not given."),
    ] = None,
    yes: Yes = False,
) -> int:
    """Change a server and keep its volumes.

    Another flavor, image, variable or secret makes a running server a fresh container: its programs end, and you are
    asked first. The command waits and says how long the server was away. A stopped server has the change from its next
    start.

    A larger home and new time settings end nothing. `--time none` removes the time limit, `--idle-timeout none` the
    idle timeout, `--idle-timeout default` takes the flavor's.
    """
    secrets = validation.secret_references(secret or [], secret_file or [])
    changes = Changes(
        flavor=flavor,
        image=validation.image(image) if image else None,
        home_size=_home_size(home_size),
        env={variable["name"]: variable["value"] for variable in validation.environment_variables(env or [])},
        unset_env=_names_of_variables(unset_env or [], env or []),
        secrets=tuple(secrets),
        unset_secrets=secret_references.check_removed(unset_secret or [], secrets),
        lifecycle=settings.change(time_limit, idle_timeout, grace, zone.time_zone(context)),
    )
    limit = validation.duration(wait or "10m", "--wait")
    if changes.is_empty:
        raise CommandError(
            f"nothing of {name} is to change",
            f"give an option, for example `devctl update {name} --flavor FLAVOR`",
            USAGE,
        )
    server = context.server(name)
    if server["metadata"].get("deletionTimestamp"):
        raise CommandError(f"{name} is being deleted", f"`{create_command_of(server)}` makes a new one once it is gone")
    changes.spec(server)
    restarts = changes.restarts and not is_stopped(server)
    costs = _check(context, server, changes, restarts=restarts)
    warn_of_missing(context, changes.secrets, f"{name} waits at its next start")
    if restarts:
        console.warn(f"updating {name}: {'; '.join(costs)}")
        if not yes:
            confirm(f"updating {name}", f"Update {name}?", f"{name} is left as it is")

    def build(current: Json) -> Json:
        change: Json = {"spec": changes.spec(current)}
        if restarts:
            change["metadata"] = {"annotations": {names.ANNOTATION_RESTARTED_AT: times.now()}}
        return change

    written = change_server(context, name, "update", build, changes.fields, server)
    assert written is not None
    if restarts:
        return _wait_ready(context, written, limit, server)
    _report(context, written, changes)
    return 0


def _check(context: Context, server: Json, changes: Changes, *, restarts: bool) -> list[str]:
    """Refuse what can't fit, and return what the change costs a running server. Raises CommandError."""
    name = server["metadata"]["name"]
    costs = ["the programs that run in it end, and files outside its volumes are lost"] if restarts else []
    if restarts and not keeps_home(server):
        costs.append("its home is not persistent and is lost too")
    if restarts:
        costs += [cost for cost in (volumes_lost_by_stop(context, server), restart_cost(context, server)) if cost]
    if changes.flavor:
        _, _, flavor = preflight.check_flavor_and_claims(context, changes.flavor, [], False, replicas_of(server))
        assert flavor is not None, "a flavor that does not exist is refused"
        fit.check_flavor(context, server, flavor, other_image=changes.image is not None)
        if restarts and (cost := fit.queue_cost(context, server, flavor)):
            costs.insert(0, cost)
    if changes.home_size:
        fit.check_home(context, server)
        home_quota.check_home_quota(context, name, changes.home_size, replicas_of(server))
    if changes.lifecycle:
        limits.check_settings(changes.lifecycle, server, limits.limits_of(context, server, changes.flavor))
    return costs


def _wait_ready(context: Context, written: Json, limit: float, before: Json) -> int:
    """Wait until the server is ready again, and say how long it was away; return the exit code."""
    from devctl.wait import wait_ready

    name, began = written["metadata"]["name"], time.monotonic()
    console.info(f"{name} is changed and starts anew")
    code = wait_ready(context, written, limit, before=before)
    if code == 0:
        console.info(f"{name} was away for {times.duration(time.monotonic() - began)}")
    return code


def _report(context: Context, written: Json, changes: Changes) -> None:
    """Say what a change means that ended nothing."""
    name = written["metadata"]["name"]
    if changes.restarts:
        console.info(f"{name} is changed; it has the change from its next start: `devctl start {name}`")
    if changes.home_size:
        console.info(f"the home of {name} grows to {changes.home_size}; `devctl describe {name}` shows its size")
    if not changes.lifecycle:
        return
    lines = settings.sentences(changes.lifecycle, zone.time_zone(context))
    console.info(f"{name} has new time settings" + (": " + "; ".join(lines) if lines else ""))
    if is_stopped(written):
        return
    from devctl.wait import wait_observed

    server = wait_observed(context, written, OBSERVED_SECONDS, lambda _: True)
    if server is not None and (limited := true_message(server, "TimeLimited")):
        console.warn(limited)


def _home_size(text: str | None) -> str | None:
    if text is None:
        return None
    size = validation.home_size(text)
    if size is None:
        raise validation.refusal(
            f"--home-size {text} would take the home away", "`devctl delete NAME --purge` deletes a server and its home"
        )
    return size


def _names_of_variables(unset: list[str], assigned: list[str]) -> tuple[str, ...]:
    given = {pair.partition("=")[0] for pair in assigned}
    for key in unset:
        if not fits(key, ENV_NAME, ENV_NAME_MAX):
            raise validation.refusal(f"--unset-env {key!r} is not a variable name", "use letters, digits and _")
        if key in given:
            raise CommandError(f"variable {key} is set and removed at once", "give one of --env and --unset-env", USAGE)
    return tuple(dict.fromkeys(unset))
