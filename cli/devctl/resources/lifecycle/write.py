"""Changes a DevServer by one write that counts on what was read.

Invariant: nobody's change is lost: a write carries the object's uid and resourceVersion. After a conflict the object is
read again, and if somebody else changed the same field the command ends and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from devctl.output.errors import from_api
from devctl.resources.lifecycle.planned import is_stopped
from devctl.resources.pods import suspended
from devservers_core.errors import ApiError, CommandError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


ATTEMPTS = 8
"""Writes that are tried; the operator's own writes of the status make one fail now and then."""


def change_server(
    context: Context,
    name: str,
    doing: str,
    build: Callable[[Json], Json | None],
    contested: Sequence[str],
    first: Json | None = None,
) -> Json | None:
    """Write the merge patch that `build` makes of the server; return the new object, None if it makes none.

    `first` is the object as it was read when the change was decided; without it the object is read now.

    `contested` are the fields of the spec (`flavor`, `lifecycle.hold`) that nobody else may have changed between the
    first read and the write. Raises CommandError.
    """
    from devservers_core.client.paths import server_path

    first = server = first or context.server(name)
    for attempt in range(1, ATTEMPTS + 1):
        change = build(server)
        if change is None:
            return None
        metadata = server["metadata"]
        counted = {key: metadata[key] for key in ("uid", "resourceVersion") if metadata.get(key)}
        body = {**change, "metadata": {**(change.get("metadata") or {}), **counted}}
        try:
            # Strict: an older platform would leave out a field that it doesn't know, and say nothing.
            query = {"fieldManager": "devctl", "fieldValidation": "Strict"}
            return context.kube.patch(server_path(context.namespace, name), body, **query)
        except ApiError as error:
            if error.status == 404:
                context.missing(name)
            if error.status != 409 or attempt == ATTEMPTS:
                raise from_api(error, f"{doing} {name}") from None
        server = context.server(name)
        _check_uncontested(first, server, contested)
    raise AssertionError("the last attempt returns or raises")


def _check_uncontested(first: Json, now: Json, contested: Sequence[str]) -> None:
    name = first["metadata"]["name"]
    if first["metadata"].get("uid") != now["metadata"].get("uid"):
        raise CommandError(
            f"{name} was deleted and made anew meanwhile; nothing was changed", f"`devctl describe {name}` shows it"
        )
    for field in contested:
        if _value(first, field) != _value(now, field):
            raise CommandError(
                f"somebody else changed {field} of {name} at the same time; your change was not made",
                f"`devctl describe {name}` shows what is set now; run the command again if it is not enough",
            )


def _value(server: Json, field: str) -> object:
    value: object = server.get("spec") or {}
    for part in field.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def refuse_ended(server: Json, doing: str) -> None:
    """Raise CommandError for a server that is stopped: only a running one can be extended or held."""
    name = server["metadata"]["name"]
    if server["metadata"].get("deletionTimestamp"):
        raise CommandError(f"{name} is being deleted, so you can't {doing} it", "`devctl list` shows your servers")
    if refused := suspended(server):
        raise refused
    if is_stopped(server):
        reason = (server.get("status") or {}).get("stopReason")
        raise CommandError(
            f"{name} is stopped" + (f" ({reason})" if reason else "") + f", so you can't {doing} it",
            f"`devctl start {name}` starts it, and its time begins anew",
        )
