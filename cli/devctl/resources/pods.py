"""Finds the pod of a server, or says in one line why there is none.

Invariant: never starts anything; a stopped server stays stopped when an editor connects again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from devctl.config import HOST_SUFFIX
from devctl.output.errors import from_api
from devctl.resources.replicas import create_command_of, pod_of, replicas_of
from devservers_core import names
from devservers_core.errors import FORBIDDEN, TRANSPORT, ApiError, CommandError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


@dataclass(frozen=True)
class Container:
    """One run of a container.

    Started again it has another id; before its first start it has none.
    """

    pod: str
    id: str
    running: bool = field(default=False, compare=False)


def suspended(server: Json) -> CommandError | None:
    """The refusal for a server whose owner is suspended; None otherwise."""
    status = server.get("status") or {}
    if status.get("stopReason") != names.STOPPED_BY_SUSPENSION:
        return None
    name, namespace = server["metadata"]["name"], str(server["metadata"].get("namespace", ""))
    user = names.user_of(namespace) or namespace
    return CommandError(
        f"{name} is stopped: the account {user} is suspended, and nothing of it starts",
        "ask an administrator"
        + ("; it starts by itself when the account is resumed" if server["spec"].get("running", True) else ""),
        FORBIDDEN,
    )


def stopped(server: Json) -> CommandError | None:
    """Why a server can't be reached and will not start by itself; None when it runs or starts."""
    name, status = server["metadata"]["name"], server.get("status") or {}
    if server["metadata"].get("deletionTimestamp"):
        return CommandError(
            f"{name} is being deleted", f"`{create_command_of(server)}` makes a new one once it is gone"
        )
    if not server["spec"].get("running", True) or status.get("phase") in ("Stopped", "Stopping"):
        from devctl.resources.lifecycle import planned

        if refused := suspended(server):
            return refused
        because = f" ({why})" if (why := planned.because(server)) else ""
        state = "stopping" if status.get("phase") == "Stopping" else "stopped"
        return CommandError(f"{name} is {state}{because}", f"`devctl start {name} --wait` starts it")
    return None


def not_running(server: Json) -> CommandError | None:
    """Why a server can't be reached now; None when a connection may be tried."""
    from devctl.resources.server_state import not_ready_reason

    name, status = server["metadata"]["name"], server.get("status") or {}
    failure = stopped(server)
    if failure is None and not status.get("podName"):
        reason = not_ready_reason(server)
        failure = CommandError(
            f"{name} is not running yet" + (f": {reason}" if reason else ""),
            f"`devctl describe {name}` shows how far it is",
        )
    return failure


def coming_up(server: Json) -> bool:
    """Whether the server is starting and has not failed, so that a later attempt may succeed."""
    from devctl.resources.server_state import is_ready

    return not is_ready(server) and (server.get("status") or {}).get("phase") != "Failed"


def with_ssh(context: Context, name: str) -> Json:
    """Read a server that has SSH and is not stopped. Raises CommandError with code 255."""
    name = name.removesuffix(HOST_SUFFIX)
    server = context.server(name)
    if not server["spec"].get("enableSSH", True):
        raise CommandError(f"{name} has no SSH", f"`devctl shell {name}` opens a shell without it", TRANSPORT)
    failure = stopped(server)
    if failure:
        failure.code = TRANSPORT
        raise failure
    return server


def listening(context: Context, server: Json, replica: int = 0) -> str:
    """The name of the server's pod, or of a replica's, once its containers may listen.

    Raises CommandError before that.
    """
    pod = _newest(server, _of_replica(server, _alive(_all(context, server)), replica))
    status = pod.get("status") or {}
    init = status.get("initContainerStatuses") or []
    if status.get("phase") != "Running" and not (init and all((s.get("state") or {}).get("terminated") for s in init)):
        name = server["metadata"]["name"]
        raise CommandError(f"{name} has not started yet", f"`devctl describe {name}` shows how far it is")
    return str(pod["metadata"]["name"])


def of_server(context: Context, server: Json, replica: int = 0) -> str:
    """The name of the server's pod, or of a replica's. Raises CommandError when there is none."""
    status = server.get("status") or {}
    if status.get("podName") and server["spec"].get("running", True):
        return str(status["podName"]) if replicas_of(server) is None else pod_of(server, replica)
    pods = _of_replica(server, _all(context, server), replica)
    return str(_newest(server, _alive(pods) or pods)["metadata"]["name"])


def container(context: Context, server: Json, name: str, replica: int = 0) -> Container | None:
    """The container of that name in the server's newest pod, or in a replica's; None when there is none yet.

    Init containers are not found.
    """
    pods = _of_replica(server, _alive(_all(context, server)), replica)
    pod = _newest(server, pods) if pods else {}
    for status in (pod.get("status") or {}).get("containerStatuses") or []:
        if status.get("name") == name:
            running = bool((status.get("state") or {}).get("running"))
            return Container(str(pod["metadata"]["name"]), str(status.get("containerID") or ""), running)
    return None


def _all(context: Context, server: Json) -> list[Json]:
    from devservers_core.client.paths import core_path

    name = server["metadata"]["name"]
    try:
        path = core_path(context.namespace, "pods")
        return list(context.kube.get(path, labelSelector=f"{names.LABEL_NAME}={name}").get("items") or [])
    except ApiError as error:
        raise from_api(error, f"find the pod of {name}") from None


def _of_replica(server: Json, pods: list[Json], replica: int) -> list[Json]:
    """Those of a server's pods that are the replica's; all of a standalone server's."""
    if replicas_of(server) is None:
        return pods
    return [pod for pod in pods if pod["metadata"]["name"] == pod_of(server, replica)]


def _alive(pods: list[Json]) -> list[Json]:
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def _newest(server: Json, pods: list[Json]) -> Json:
    """The newest of a server's pods. Raises CommandError when there is none."""
    if not pods:
        name = server["metadata"]["name"]
        raise not_running(server) or CommandError(f"{name} has no pod", f"`devctl describe {name}` shows why")
    return max(pods, key=lambda p: p["metadata"].get("creationTimestamp") or "")
