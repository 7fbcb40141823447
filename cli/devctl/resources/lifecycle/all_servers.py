"""The servers of all users, for administrators."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from devctl.output import times
from devctl.output.errors import from_api
from devctl.resources.server_state import last_start_time, status_of
from devservers_core import names
from devservers_core.errors import ApiError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


def all_servers(context: Context) -> list[Json]:
    """List the DevServers of all namespaces. Raises CommandError."""
    try:
        return list(context.kube.get(f"/apis/{names.API_VERSION}/devservers").get("items") or [])
    except ApiError as error:
        raise from_api(error, "list the servers of all users") from None


def last_used(server: Json) -> datetime | None:
    """When a server was last used: its last activity, stop or start, whichever is the latest."""
    status = status_of(server)
    moments = (
        (status.get("lastActivity") or {}).get("at"),
        (status.get("lastStop") or {}).get("at"),
        last_start_time(server),
    )
    return max((at for text in moments if (at := times.parse_time(text))), default=None)
