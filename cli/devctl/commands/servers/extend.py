"""`devctl extend`: gives a running server more time, and takes an override of its limits away.

Invariant: one write, which counts on the object that was read; no other time limit of the server is changed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from devctl import validation
from devctl.options import ServerName, Until
from devctl.output import console, times
from devctl.resources.lifecycle import limits, until, zone
from devctl.resources.lifecycle.planned import lifecycle_of, next_stop
from devctl.resources.lifecycle.write import change_server, refuse_ended
from devctl.resources.server_state import status_observes, status_of, true_message
from devservers_core.errors import REFUSED, TIMED_OUT, USAGE, CommandError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


WAIT_SECONDS = 30.0
"""Seconds in which the operator takes up an extension; it takes less than one as a rule."""


def extend_command(
    context: Context,
    name: ServerName,
    duration: Annotated[
        str | None, typer.Argument(metavar="[DURATION]", help="How much longer, like 2h, or 'until 18:00'.")
    ] = None,
    time: Annotated[str | None, typer.Option("--time", metavar="DURATION", help="The same as an option.")] = None,
    until_: Until = None,
    override: Annotated[
        bool,
        typer.Option(
            "--override",
            help="Administrators: beyond the limits of flavor and user, all of which it lifts until --no-override;"
            " with --reason.",
        ),
    ] = False,
    no_override: Annotated[
        bool, typer.Option("--no-override", help="Let the limits count again; takes no duration.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why --override; it is recorded.")
    ] = None,
) -> int:
    """Give a running server more time before it stops by itself.

    The time is added to the server's end, not to now: with 30 minutes left, 2h makes 2h30m. Every warning of the end
    comes again. The next `devctl start` begins with the server's own time limit.
    """
    if no_override:
        if duration or time or until_ or override or reason:
            raise CommandError("--no-override stands alone", f"write `devctl extend {name} --no-override`", USAGE)
        return _remove_override(context, name)
    now = datetime.now(UTC)
    asked = until.one_of(duration, time, until_, zone.time_zone(context), now)
    if override != bool(reason):
        raise CommandError("--override and --reason belong together", "give both, or none of them", USAGE)
    if reason:
        validation.reason(reason)
    target: datetime | None = None

    def build(server: Json) -> Json:
        nonlocal target
        target = _target(server, asked)
        if not override:
            limits.check_end(target, server, limits.limits_of(context, server))
        change: Json = {"extendUntil": until.rfc3339(target)}
        if reason:
            change["override"] = {"reason": reason}
        return {"spec": {"lifecycle": change}}

    written = change_server(context, name, "extend", build, ["lifecycle.extendUntil"])
    assert written is not None
    assert target is not None
    return _report(context, written, target)


def _remove_override(context: Context, name: str) -> int:
    """Let the limits of flavor and user count again for a server, which may be stopped; return the exit code."""

    def build(server: Json) -> Json | None:
        return {"spec": {"lifecycle": {"override": None}}} if lifecycle_of(server).get("override") else None

    if change_server(context, name, "extend", build, ["lifecycle.override"]) is None:
        console.info(f"{name} has no override")
    else:
        console.info(f"the limits of flavor and user count for {name} again; `devctl describe {name}` shows its end")
    return 0


def _target(server: Json, asked: until.TimeLimit) -> datetime:
    """The end that is asked for. Raises CommandError where there is nothing to extend."""
    refuse_ended(server, "extend")
    name = server["metadata"]["name"]
    end = times.parse_time(status_of(server).get("expiresAt"))
    extended = times.parse_time(lifecycle_of(server).get("extendUntil"))
    if extended and not status_observes(server, server):
        end = max(end or extended, extended)  # somebody has just extended it, and the operator hasn't seen that yet
    if end is None:
        stop = next_stop(server)
        raise CommandError(
            f"{name} has no time limit, so there is nothing to extend",
            f"`devctl hold {name} 8h --reason TEXT` keeps it from stopping while nothing happens in it"
            if stop
            else f"`devctl describe {name}` shows when it stops",
        )
    target = asked.end(end)
    if target <= end:
        here = end.astimezone(target.tzinfo)
        raise validation.refusal(
            f"{until.show(target)} is not later than the end that {name} has, {until.show(here)}",
            f"give a later time; `devctl update {name} --time` makes it shorter",
        )
    return target.replace(microsecond=0)


def _report(context: Context, written: Json, target: datetime) -> int:
    """Wait until the operator has the new end and print it; return the exit code."""
    from devctl.wait import wait_observed

    name = written["metadata"]["name"]
    before = times.parse_time(status_of(written).get("expiresAt"))

    def taken_up(server: Json) -> bool:
        end = times.parse_time(status_of(server).get("expiresAt"))
        return end is None or end >= target or true_message(server, "TimeLimited") is not None

    server = wait_observed(context, written, WAIT_SECONDS, taken_up)
    if server is None:
        raise CommandError(
            f"the platform has not taken up the new end of {name} within {WAIT_SECONDS:.0f} s",
            f"it stands in the server and counts as soon as the operator runs; `devctl describe {name}` shows it",
            TIMED_OUT,
        )
    end = times.parse_time(status_of(server).get("expiresAt"))
    shown = until.show(end.astimezone(target.tzinfo)) if end else "never"
    if end is not None and end < target:
        limited = true_message(server, "TimeLimited") or "a limit of its flavor or of your account"
        if before is not None and end <= before:
            raise CommandError(
                f"{name} can't be extended: {limited}", f"it stops at {shown}; ask an administrator", REFUSED
            )
        console.warn(f"that is less than you asked for: {limited}")
    left = times.duration((end - datetime.now(UTC)).total_seconds()) if end else "-"
    console.info(f"{name} now stops at {shown}, in {left}")
    return 0
