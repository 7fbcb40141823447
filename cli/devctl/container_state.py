"""What only a server's container knows: sshd's log and how the command ended. Read by exec, with the person's rights.

So that no pod needs a credential to report it, and the operator no right to look into pods.
"""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

from devctl import pods, remote, render
from devctl.errors import from_api
from devservers_core import names
from devservers_core.errors import TRANSPORT, ApiError, CommandError, UnreachableError

if TYPE_CHECKING:
    from devctl.session import Session
    from devservers_core.types import Json

PROGRAM = "/opt/devservers/bin/devserver-inspect"
SECONDS = 5.0
"""How long a container may take to answer."""
MOST = 2 * 2**20
"""Bytes that are read of a log: it comes from the server's owner, who may be somebody else."""
MOST_END = 4096
"""The same of how a command ended."""


def ssh_log(session: Session, server: Json) -> bytes:
    """sshd's log, the last half mebibyte at most. Raises CommandError."""
    name = server["metadata"]["name"]
    try:
        return _printed(session, server, "ssh-log")
    except ApiError as error:
        raise from_api(error, f"read sshd's log of {name}") from None
    except UnreachableError as error:
        raise CommandError(f"sshd's log of {name} can't be read: {error}", "try again in a moment", TRANSPORT) from None
    except CommandError as failure:
        if PROGRAM not in failure.what:
            raise
        raise CommandError(
            f"{name} was started before sshd's log was kept apart", f"`devctl logs {name}` has it among the output"
        ) from None


def command_end(session: Session, server: Json) -> str | None:
    """How and when the command ended, in words; None while it runs and where that can't be known."""
    spec, status = server.get("spec") or {}, server.get("status") or {}
    if not spec.get("command") or status.get("phase") != "Running" or not status.get("podName"):
        return None
    try:
        return told(_printed(session, server, "command", MOST_END))
    except (ApiError, UnreachableError, CommandError):
        return None


def told(answer: bytes) -> str | None:
    """How the command ended, from what a container said; None for what makes no sense."""
    try:
        found = json.loads(answer or b"{}")
        return ended(found) if isinstance(found, dict) else None
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def ended(found: Json) -> str | None:
    """What devserver-inspect says of the command, in words; None of one that runs."""
    if "exitCode" in found:
        how = f"exit code {int(found['exitCode'])}"
    elif "signal" in found:
        number = int(found["signal"])
        known = number in {each.value for each in signal.Signals}
        how = f"signal {number}" + (f" ({signal.Signals(number).name})" if known else "")
    else:
        return None
    return f"{how}, {render.age(str(found['at']))} ago" if found.get("at") else how


def _printed(session: Session, server: Json, word: str, most: int = MOST) -> bytes:
    """Standard output of our program in the server's container. Raises ApiError, UnreachableError, CommandError."""
    from devservers_core.client import streams
    from devservers_core.client.paths import core_path

    name, deadline = server["metadata"]["name"], time.monotonic() + SECONDS
    query = [("container", names.MAIN_CONTAINER), ("stdout", "true"), ("stderr", "true"), ("command", PROGRAM)]
    path = core_path(session.namespace, "pods", pods.of_server(session, server)) + "/exec"
    channels = streams.connect(session.kube, path, [*query, ("command", word)], streams.EXEC_PROTOCOLS, SECONDS)
    printed, status = bytearray(), None
    try:
        while time.monotonic() < deadline and len(printed) < most:
            channels.wait([], deadline - time.monotonic())
            for channel, data in channels.receive():
                if channel == remote.STDOUT:
                    printed += data
                elif channel == remote.ERROR and data:
                    status = json.loads(data)
        raise UnreachableError(f"{name} did not finish its answer within {SECONDS:.0f} s and {most} bytes")
    except streams.StreamClosedError:
        if status is None:
            raise UnreachableError(f"the connection to {name} broke") from None
        remote.exit_code(status, name)
        return bytes(printed)
    finally:
        channels.close()
