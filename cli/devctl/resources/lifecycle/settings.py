"""The time settings of a server: from options of the command line, and as sentences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from devctl import validation
from devctl.output import times
from devctl.resources.lifecycle import in_force, until
from devctl.resources.lifecycle.limits import Limits
from devctl.resources.lifecycle.planned import hold_until, last_active, lifecycle_of, next_stop
from devservers_core.duration import format_duration
from devservers_core.errors import REFUSED, CommandError

if TYPE_CHECKING:
    from devservers_core.types import Json


MAX_GRACE_SECONDS = 600
_NONE, _DEFAULT = "none", "default"


def parse(time_limit: str | None, idle_timeout: str | None, grace: str | None, zone: tzinfo | None) -> Json:
    """The part of spec.lifecycle that options give. Raises CommandError for values that are refused."""
    lifecycle: Json = {}
    if time_limit:
        limit = until.parse(time_limit, "--time (or --ttl)", zone, datetime.now(UTC))
        lifecycle |= {"expirationTime": until.rfc3339(limit.at)} if limit.at else {"timeToLive": limit.duration}
    if idle_timeout == _NONE:
        lifecycle["autoShutdown"] = False
    elif idle_timeout:
        validation.duration(idle_timeout, "--idle-timeout")
        lifecycle["idleTimeout"] = idle_timeout
    if grace:
        if validation.duration(grace, "--grace") > MAX_GRACE_SECONDS:
            raise validation.refusal(f"--grace {grace} is too long: at most 10m is allowed", "take 10m or less")
        lifecycle["gracePeriod"] = grace
    return lifecycle


def change(time_limit: str | None, idle_timeout: str | None, grace: str | None, zone: tzinfo | None) -> Json:
    """The change of spec.lifecycle that options make of a server's; null clears a field.

    A new time limit takes the place of the one before, extensions included.
    """
    own_time = None if time_limit == _NONE else time_limit
    own_idle = None if idle_timeout == _DEFAULT else idle_timeout
    lifecycle = parse(own_time, own_idle, grace, zone)
    if time_limit:
        lifecycle = {"timeToLive": None, "expirationTime": None, "extendUntil": None} | lifecycle
    if idle_timeout:
        lifecycle = {"idleTimeout": None, "autoShutdown": None} | lifecycle
    return lifecycle


def sentences(lifecycle: Json, zone: tzinfo | None, limits: Limits | None = None) -> list[str]:
    """What time settings mean, one line each; with `limits` also the defaults and limits that count instead."""
    lines = []
    limits = limits or Limits()
    at = times.parse_time(lifecycle.get("expirationTime"))
    if at is not None:
        lines.append(f"it stops at {until.show(at.astimezone(zone))}")
    limit, idle = in_force.time_limit(lifecycle, limits), in_force.idle_timeout(lifecycle, limits)
    if limit.seconds is not None:
        latest = " at the latest" if at is not None else ""
        lines.append(
            f"it stops {format_duration(timedelta(seconds=limit.seconds))} after its start{latest}{_of(limit)};"
            " each `devctl start` begins the time anew"
        )
    if idle.seconds is not None:
        lines.append(
            f"it stops when nothing happened in it for {format_duration(timedelta(seconds=idle.seconds))}{_of(idle)}"
        )
    elif lifecycle.get("autoShutdown") is False:
        lines.append("it does not stop when nothing happens in it, where your limits allow that")
    return lines


def _of(time: in_force.InForce) -> str:
    """Where a time comes from, in parentheses; empty for the server's own."""
    return f" ({time.source})" if time.source else ""


def time_over(server: Json) -> CommandError | None:
    """The refusal to start a server whose point in time has passed; None otherwise."""
    at = times.parse_time(lifecycle_of(server).get("expirationTime"))
    if at is None or at > datetime.now(UTC):
        return None
    name = server["metadata"]["name"]
    return CommandError(
        f"{name} would stop at once: it was to run until {until.show(at)}",
        f"`devctl update {name} --time 2h` gives it a new time, then `devctl start {name}`",
        REFUSED,
    )


def facts(server: Json, zone: tzinfo | None, limits: Limits | None = None) -> list[tuple[str, str]]:
    """The lines of `devctl describe` about time: what is set, what is planned, what happened last.

    With `limits` the time limit and the idle timeout are those that count, with their source.
    """
    lifecycle, lines = lifecycle_of(server), []
    limits = limits or Limits()
    limit, idle = in_force.time_limit(lifecycle, limits), in_force.idle_timeout(lifecycle, limits)

    def at(text: object) -> str | None:
        time = times.parse_time(str(text)) if text else None
        return until.show(time.astimezone(zone)) if time else None

    override = (lifecycle.get("override") or {}).get("reason")
    if limit.seconds is not None:
        lines.append(
            ("Time limit", f"{format_duration(timedelta(seconds=limit.seconds))} from the last start{_of(limit)}")
        )
    if until_time := at(lifecycle.get("expirationTime")):
        lines.append(("Time limit", f"until {until_time}"))
    if extended := at(lifecycle.get("extendUntil")):
        lines.append(("Extended", f"until {extended}" + (f" (beyond the limits: {override})" if override else "")))
    if override:
        lines.append(("Override", f"no limit of its flavor or owner counts: {override}"))
    if idle.seconds is not None:
        lines.append(("Idle timeout", format_duration(timedelta(seconds=idle.seconds)) + _of(idle)))
    elif lifecycle.get("autoShutdown") is False:
        lines.append(("Idle timeout", "none"))
    if lifecycle.get("gracePeriod"):
        lines.append(("Grace period", str(lifecycle["gracePeriod"])))
    if held := hold_until(server):
        lines.append(("Held", f"until {until.show(held.astimezone(zone))}: {lifecycle['hold'].get('reason', '')}"))
    if stop := next_stop(server):
        left = times.duration(stop.seconds_left(datetime.now(UTC)))
        lines.append(("Stops in", f"{left}, at {until.show(stop.at.astimezone(zone))} ({stop.reason})"))
    active = last_active(server)
    if active != "-":
        lines.append(("Last active", active.replace(" (", " ago (")))
    return lines
