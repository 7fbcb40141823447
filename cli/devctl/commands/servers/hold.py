"""`devctl hold` and `devctl release`: keep a server from stopping while nothing happens in it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from devctl import validation
from devctl.options import ServerName, Until
from devctl.output import console, times
from devctl.resources.lifecycle import limits, until, zone
from devctl.resources.lifecycle.planned import lifecycle_of
from devctl.resources.lifecycle.write import change_server, refuse_ended
from devctl.resources.server_state import status_of, true_message

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


WAIT_SECONDS = 10.0
"""Seconds in which the operator says whether a limit makes a hold shorter."""


def hold_command(
    context: Context,
    name: ServerName,
    duration: Annotated[
        str | None, typer.Argument(metavar="[DURATION]", help="For how long, like 8h, or 'until 18:00'.")
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, in one line; administrators see it.")
    ] = "",
    time: Annotated[str | None, typer.Option("--time", metavar="DURATION", help="The same as an option.")] = None,
    until_: Until = None,
) -> int:
    """Keep a server running though nothing happens in it and working hours are over.

    A hold never moves a time limit (`devctl extend` does), and ends no suspension. A new hold replaces the one before.
    """
    asked = until.one_of(duration, time, until_, zone.time_zone(context), datetime.now(UTC))
    validation.reason(reason)

    def build(server: Json) -> Json:
        refuse_ended(server, "hold")
        now = datetime.now(UTC)
        end = asked.end(now)
        limit = limits.limits_of(context, server).hold
        limits.check(int((end - now).total_seconds()), limit, "a hold", "a time of")
        return {"spec": {"lifecycle": {"hold": {"until": until.rfc3339(end), "reason": reason.strip()}}}}

    written = change_server(context, name, "hold", build, ["lifecycle.hold"])
    assert written is not None
    from devctl.wait import wait_observed

    server = wait_observed(context, written, WAIT_SECONDS, lambda _: True) or written
    end = times.parse_time(lifecycle_of(written)["hold"]["until"])
    assert end is not None
    shown = end.astimezone(asked.at.tzinfo if asked.at else zone.time_zone(context))
    console.info(f"{name} is held until {until.show(shown)}")
    if limited := true_message(server, "TimeLimited"):
        console.warn(limited)
    expires = times.parse_time(status_of(server).get("expiresAt"))
    if expires is not None and expires < end:
        console.warn(
            f"its time limit comes first, at {until.show(expires.astimezone(shown.tzinfo))};"
            f" `devctl extend {name}` moves it"
        )
    return 0


def release_command(context: Context, name: ServerName) -> int:
    """End a hold: from now on the server stops again when nothing happens in it."""

    def build(server: Json) -> Json | None:
        return {"spec": {"lifecycle": {"hold": None}}} if lifecycle_of(server).get("hold") else None

    released = change_server(context, name, "release", build, ["lifecycle.hold"])
    console.info(f"{name} has no hold" if released is None else f"{name} is released")
    return 0
