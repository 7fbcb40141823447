"""Finding the pod a server runs in, or saying in one line why there is none.

Invariant: never starts anything; a stopped server stays stopped when an editor reconnects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from devctl import names
from devctl.errors import ApiError, Failure, from_api

if TYPE_CHECKING:
    from devctl.kube import Json
    from devctl.session import Session


def not_running(server: Json) -> Failure | None:
    """Why a server cannot be reached now, None when nothing speaks against trying."""
    from devctl.wait import why

    name, status = server["metadata"]["name"], server.get("status") or {}
    if server["metadata"].get("deletionTimestamp"):
        return Failure(f"{name} is being deleted", f"`devctl create {name}` makes a new one once it is gone")
    if not server["spec"].get("running", True) or status.get("phase") in ("Stopped", "Stopping"):
        because = f" ({status['stopReason']})" if status.get("stopReason") else ""
        state = "stopping" if status.get("phase") == "Stopping" else "stopped"
        return Failure(f"{name} is {state}{because}", f"`devctl start {name} --wait` starts it")
    if not status.get("podName"):
        reason = why(server)
        return Failure(
            f"{name} is not running yet" + (f": {reason}" if reason else ""),
            f"`devctl describe {name}` shows how far it is",
        )
    return None


def of_server(session: Session, server: Json) -> str:
    """The name of the server's pod; raises Failure when there is none."""
    from devctl.kube import core_path

    name, status = server["metadata"]["name"], server.get("status") or {}
    if status.get("podName") and server["spec"].get("running", True):
        return str(status["podName"])
    try:
        pods = session.kube.get(core_path(session.namespace, "pods"), labelSelector=f"{names.LABEL_NAME}={name}").get(
            "items", []
        )
    except ApiError as error:
        raise from_api(error, f"find the pod of {name}") from None
    alive = [p for p in pods if not p["metadata"].get("deletionTimestamp")] or pods
    if alive:
        newest = max(alive, key=lambda p: p["metadata"].get("creationTimestamp") or "")
        return str(newest["metadata"]["name"])
    raise not_running(server) or Failure(f"{name} has no pod", f"`devctl describe {name}` shows why")
