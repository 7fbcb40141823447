"""Reads what only a server's container knows: sshd's log, the command's exit code.

It is read by exec with the user's rights, so that no pod needs a credential to report it, and the operator needs no
right to exec.
"""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

from devctl.output import times
from devctl.output.errors import from_api
from devctl.resources import exec_stream, pods
from devservers_core import names
from devservers_core.errors import TRANSPORT, ApiError, CommandError, UnreachableError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


PROGRAM = "/opt/devservers/bin/devserver-inspect"
TIMEOUT_SECONDS = 5.0
"""Time-out of an answer of the container."""
MAX_LOG_BYTES = 2 * 2**20
"""Limit on a log, which comes from the server's owner, who may be another user."""
MAX_COMMAND_END_BYTES = 4096
"""Limit on the answer about the command."""


def ssh_log(context: Context, server: Json, replica: int = 0) -> bytes:
    """Read sshd's log, at most its last half mebibyte. Raises CommandError."""
    name = server["metadata"]["name"]
    try:
        return _inspect(context, server, "ssh-log", replica=replica)
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


def command_end(context: Context, server: Json) -> str | None:
    """Describe how and when the command ended; None while it runs or if it is not known."""
    spec, status = server.get("spec") or {}, server.get("status") or {}
    if not spec.get("command") or status.get("phase") != "Running" or not status.get("podName"):
        return None
    try:
        return parse_command_end(_inspect(context, server, "command", MAX_COMMAND_END_BYTES))
    except (ApiError, UnreachableError, CommandError):
        return None


def parse_command_end(answer: bytes) -> str | None:
    """Describe how the command ended from devserver-inspect's answer; None if malformed."""
    try:
        document = json.loads(answer or b"{}")
        return describe_command_end(document) if isinstance(document, dict) else None
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def describe_command_end(document: Json) -> str | None:
    """Describe devserver-inspect's answer about the command; None for one that runs."""
    if "exitCode" in document:
        how = f"exit code {int(document['exitCode'])}"
    elif "signal" in document:
        number = int(document["signal"])
        is_known = number in {number_of_signal.value for number_of_signal in signal.Signals}
        how = f"signal {number}" + (f" ({signal.Signals(number).name})" if is_known else "")
    else:
        return None
    return f"{how}, {times.age(str(document['at']))} ago" if document.get("at") else how


def _inspect(context: Context, server: Json, word: str, most: int = MAX_LOG_BYTES, replica: int = 0) -> bytes:
    """Run devserver-inspect in the server's container and return its output.

    Raises ApiError, UnreachableError, CommandError.
    """
    container = (context.namespace, pods.of_server(context, server, replica), names.MAIN_CONTAINER)
    name = server["metadata"]["name"]
    return exec_stream.read_output(context, container, [PROGRAM, word], name, seconds=TIMEOUT_SECONDS, limit=most)
