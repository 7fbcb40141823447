"""Waits until a server is ready or stopped and shows its progress.

Invariant: waiting changes nothing on the cluster; Ctrl-C and a time-out leave the server as it is and say so.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from devctl.output import console, times
from devctl.output.progress import Progress, display
from devctl.resources.server_state import (
    is_ready,
    is_replaced,
    not_ready_reason,
    stages,
    status_is_of_last_start,
    status_observes,
)
from devservers_core.errors import INTERRUPTED, NOT_FOUND, TIMED_OUT, ApiError, CommandError, UnreachableError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


OPERATOR_SILENT_SECONDS = 10.0
"""Seconds without any status after which the operator is named as the reason."""
STALE_STATUS_SECONDS = 5.0
"""Seconds after which a status that looks old is believed: this clock and the cluster's may differ."""
NOT_OBSERVED = "the operator has not observed it yet; `devctl status` shows whether it runs"


def wait_ready(context: Context, server: Json, limit: float, before: Json | None = None) -> int:
    """Wait until `server` (as last written) is ready; return the exit code.

    `limit` is in seconds.

    `before` is the server before a restart: what ran then must have been replaced first.
    """
    from devctl.resources.pods import suspended

    name = server["metadata"]["name"]
    progress = Progress(name, time.monotonic())

    def ready(current: Json) -> bool:
        replaced = before is None or is_replaced(current, before)
        refused = suspended(current)
        if refused is not None:
            raise refused
        if replaced and status_observes(current, server):
            update_progress(progress, current)
        elif progress.seconds > OPERATOR_SILENT_SECONDS and not current.get("status"):
            progress.reason = NOT_OBSERVED
        return replaced and is_ready(current)

    if not _wait_until(context, server, progress, limit, ready):
        return INTERRUPTED
    how = "ssh" if server["spec"].get("enableSSH", True) else "shell"
    if context.broker and how == "ssh":
        from devctl.ssh.bastion import from_bastion

        with contextlib.suppress(CommandError):  # it is ready all the same, and `devctl ssh` says what is in the way
            from_bastion.wait_reachable(context, name)
    title = console.paint(name, "bold", sys.stderr)
    console.info(f"{title} is ready after {progress.seconds:.1f}s; `devctl {how} {name}` opens a session")
    return 0


def update_progress(progress: Progress, server: Json) -> None:
    """Update the progress from a newer object, except what its status says of the start before."""
    old = not status_is_of_last_start(server) and progress.seconds < STALE_STATUS_SECONDS
    progress.done = [] if old else stages(server)
    if old and server.get("status", {}).get("phase") in ("Stopped", "Stopping"):
        return
    progress.phase = console.printable(str(server.get("status", {}).get("phase") or "Pending"))
    progress.reason = not_ready_reason(server)


def wait_stopped(context: Context, server: Json, limit: float) -> int:
    """Wait until nothing of `server` (as last written) runs; return the exit code.

    `limit` is in seconds.
    """
    name = server["metadata"]["name"]
    progress = Progress(name, time.monotonic(), phase="Stopping", doing="stopping", goal="Stopped")

    def stopped(current: Json) -> bool:
        if current["spec"].get("running", True):
            raise CommandError(f"{name} was started again while waiting", f"`devctl stop {name}` stops it")
        seen = status_observes(current, server)
        if seen:
            progress.phase, progress.reason = console.printable(str(current["status"].get("phase") or "Stopping")), None
        elif progress.seconds > OPERATOR_SILENT_SECONDS:
            progress.reason = NOT_OBSERVED
        return seen and progress.phase == progress.goal

    if not _wait_until(context, server, progress, limit, stopped):
        return INTERRUPTED
    console.info(f"{console.paint(name, 'bold', sys.stderr)} is stopped after {progress.seconds:.1f}s")
    return 0


def wait_observed(context: Context, server: Json, limit: float, done: Callable[[Json], bool]) -> Json | None:
    """Wait until the status observed `server` (as last written) and `done` accepts the object; return it.

    None when that takes longer than `limit` seconds.
    """
    progress = Progress(server["metadata"]["name"], time.monotonic())
    try:
        for current in follow(context, server, progress, limit):
            if status_observes(current, server) and done(current):
                return current
    except CommandError as failure:
        if failure.code != TIMED_OUT:
            raise
    return None


def _wait_until(context: Context, server: Json, progress: Progress, limit: float, done: Callable[[Json], bool]) -> bool:
    """Show `progress` until `done` accepts the newest object; False when the user ends the wait."""
    try:
        with display() as show:
            for current in follow(context, server, progress, limit):
                over = done(current)
                show(progress)
                if over:
                    break
    except KeyboardInterrupt:
        console.info("")
        console.info(f"no longer waiting; {progress.name} is left as it is and goes on {progress.doing}")
        console.info(
            f"`devctl describe {progress.name}` shows how far it is, `devctl delete {progress.name}` removes it"
        )
        return False
    return True


def follow(context: Context, server: Json, progress: Progress, limit: float) -> Iterator[Json]:
    """Yield the object at each change, and at least every second.

    Raises CommandError when the time is over.

    A watch that ends or breaks is started again; the deletion of the server ends the wait.
    """
    from devservers_core.client.paths import server_path

    name, path = server["metadata"]["name"], server_path(context.namespace)
    deadline = progress.started + limit
    current = server
    while True:
        try:
            current = context.kube.get(f"{path}/{name}")
            yield current
            query = {
                "fieldSelector": f"metadata.name={name}",
                "resourceVersion": current["metadata"]["resourceVersion"],
                "timeoutSeconds": str(max(int(min(deadline - time.monotonic(), 300)), 1)),
            }
            for event in context.kube.watch(path, query, timeout=1.0):
                if event.get("type") == "DELETED":
                    raise CommandError(
                        f"{name} was deleted while waiting", "`devctl list` shows your servers", NOT_FOUND
                    )
                if event.get("type") == "ERROR":
                    break
                current = event["object"]
                yield current
                _check_time(progress, name, deadline, limit)
        except TimeoutError:
            yield current
        except UnreachableError as error:
            progress.reason = f"the cluster does not answer ({error}); trying again"
            yield current
            time.sleep(1)
        except ApiError as error:
            if error.status == 404:
                raise CommandError(
                    f"{name} was deleted while waiting", "`devctl list` shows your servers", NOT_FOUND
                ) from None
            if error.status != 410 and error.status < 500 and error.status != 429:
                raise
            time.sleep(1)
        _check_time(progress, name, deadline, limit)


def _check_time(progress: Progress, name: str, deadline: float, limit: float) -> None:
    if time.monotonic() >= deadline:
        reason = f": {progress.reason}" if progress.reason else ""
        raise CommandError(
            f"{name} is still {progress.phase} after {times.duration(limit)}{reason}",
            f"it goes on {progress.doing}; `devctl describe {name}` shows it, `devctl delete {name}` removes it",
            TIMED_OUT,
        )
