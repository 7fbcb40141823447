"""Runs one command in several containers at once, with a name before each line of output.

Invariant: no thread keeps the process from its end: Ctrl-C ends all of them.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from functools import partial
from typing import TYPE_CHECKING, Any

from devctl.output.standard_streams import write_all
from devctl.resources.exec_stream import ERROR, STDERR, STDOUT, connect, exit_code
from devservers_core.errors import INTERRUPTED, CommandError

if TYPE_CHECKING:
    from devctl.context import Context

Target = tuple[str, str, str]
"""Namespace, pod and container."""
LINE_BYTES = 64 * 1024
"""A longer line is printed in parts, so that none fills the memory."""

STOP_SECONDS = 0.5
"""How long Ctrl-C waits for the connections to be closed."""


class _Lines:
    """Prints whole lines of one container's stream, with its label before each."""

    def __init__(self, label: str, descriptor: int, lock: threading.Lock) -> None:
        self._label, self._descriptor, self._lock = f"[{label}] ".encode(), descriptor, lock
        self._rest = b""

    def write(self, data: bytes) -> None:
        """Print the lines that `data` completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
        if lines:
            with self._lock:
                write_all(self._descriptor, b"".join(self._label + line + b"\n" for line in lines))

    def close(self) -> None:
        """Print what the last line is without its end."""
        if self._rest:
            self.write(b"\n")


def run_in_containers(context: Context, targets: Sequence[tuple[str, Target]], command: list[str]) -> list[int]:
    """Run `command` in each target (label, container) at once; return the exit codes, in order.

    Raises ApiError or CommandError, when all have ended, for the first that could not be run.
    """
    lock = threading.Lock()
    stop, stopped = socket.socketpair()
    runs: list[futures.Future[int]] = []
    threads: list[threading.Thread] = []
    # Not by a pool: the interpreter waits at its end for a pool's threads, also for those that still connect.
    for label, target in targets:
        run: futures.Future[int] = futures.Future()
        work = partial(_run, context, label, target, command, lock, stopped)
        threads.append(threading.Thread(target=_run_into, args=(run, work), name=f"replica {label}", daemon=True))
        runs.append(run)
    try:
        for thread in threads:
            thread.start()
        futures.wait(runs)
    finally:
        stop.close()
        started = [run for run, thread in zip(runs, threads, strict=True) if thread.ident]
        if not futures.wait(started, STOP_SECONDS).not_done:
            stopped.close()
    failures = [failure for run in runs if (failure := run.exception()) is not None]
    if failures:
        raise failures[0]
    return [run.result() for run in runs]


def _run_into(run: futures.Future[int], work: Callable[[], int]) -> None:
    try:
        run.set_result(work())
    except Exception as failure:
        run.set_exception(failure)


def _run(
    context: Context,
    label: str,
    target: Target,
    command: list[str],
    lock: threading.Lock,
    stopped: socket.socket,
) -> int:
    """Run the command in one container and return its exit code; INTERRUPTED once `stopped` can be read."""
    from devservers_core.client import streams

    channels = connect(context, target, command)
    printed = {STDOUT: _Lines(label, 1, lock), STDERR: _Lines(label, 2, lock)}
    status: dict[str, Any] | None = None
    try:
        while True:
            if stopped.fileno() in channels.wait([stopped.fileno()], streams.PING_EVERY):
                return INTERRUPTED
            for channel, data in channels.receive():
                if channel in printed:
                    printed[channel].write(data)
                elif channel == ERROR and data:
                    status = json.loads(data)
            channels.ping()
    except streams.StreamClosedError:
        try:
            return exit_code(status, target[1])
        except CommandError as failure:
            failure.what = f"replica {label}: {failure.what}"
            raise
    finally:
        for lines in printed.values():
            lines.close()
        channels.close()
