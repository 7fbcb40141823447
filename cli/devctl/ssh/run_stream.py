"""Starts a run in a server and follows it over connections that may be cut.

Invariant: the end of a connection ends no run. The agent keeps the output and devctl goes on at the byte where it
stopped, so nothing is lost and nothing comes twice.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from devctl.output import console
from devctl.output.standard_streams import write_all
from devctl.resources.runs import transfer
from devctl.resources.runs.frames import Frame, read_frame, refusal, unexpected
from devctl.ssh.server_stream import ConnectionFailure, is_final
from devservers_core.errors import FAILURE, INTERRUPTED, TRANSPORT, CommandError, UnreachableError

if TYPE_CHECKING:
    from devctl.ssh.server_stream import ServerStream

DEVSERVER = "/opt/devservers/bin/devserver"
"""The command `devserver` in a server, by a path that no volume hides."""
GIVE_UP_SECONDS = 900.0
"""Seconds without a connection after which devctl stops trying."""
RETRY_SECONDS, MAX_RETRY_SECONDS = 0.5, 10.0
MAX_EXIT_CODE = 255


class Connector(Protocol):
    """What connects to one server."""

    name: str

    def start(self, words: Sequence[str]) -> ServerStream:
        """Start a command in the server."""

    def failure(self, messages: str) -> ConnectionFailure:
        """Explain why there was no connection."""


class _NoConnectionError(CommandError):
    """The end of a connection before the run was known to have started."""

    def __init__(self, failure: ConnectionFailure) -> None:
        super().__init__(failure.error.what, failure.error.remedy, failure.error.code)
        self.failure = failure


class RunStream:
    """One run of a server, as this terminal sees it."""

    def __init__(self, connector: Connector, run: str = "") -> None:
        self._connector = connector
        self._run = run
        self._next = 0
        self._stream: ServerStream | None = None
        self._heard = False
        """Whether a frame came over the connection that is there."""
        self._asked = ""
        """What the run was asked to do last: cancel or kill; empty for nothing."""
        self._confirmed = False
        """Whether the agent has done that."""

    def start(self, arguments: Sequence[str], files: Sequence[transfer.Entry] | None, *, detach: bool) -> int:
        """Start a run with the agent's `arguments` and follow it; return its exit code.

        `files` are the files of its folder; None for a run without one. With `detach` print its name instead.

        Raises CommandError when the server refuses it or there is no connection.
        """
        words = [DEVSERVER, "run", "--stream", *arguments]
        self._stream = self._connector.start(words)
        try:
            frame = self._started(files)
        except _NoConnectionError as failed:
            if not failed.failure.passed:
                raise
            self._stream = self._connector.start(words)  # the server was starting
            frame = self._started(files)
        self._run = frame.run()
        if detach:
            self._close()
            console.echo(self._run)
            return 0
        console.info(f"run {self._run} started in {self._connector.name}")
        return self._follow()

    def attach(self) -> int:
        """Follow a run from its beginning; return its exit code."""
        return self._follow()

    def _started(self, files: Sequence[transfer.Entry] | None) -> Frame:
        if files is not None:
            self._send(files)
        return self._expect("started")

    def _send(self, files: Sequence[transfer.Entry]) -> None:
        assert self._stream is not None
        try:
            self._stream.input.write(transfer.manifest(files))
            self._stream.input.flush()
        except BrokenPipeError:
            pass  # the agent has said why
        need = self._expect("need").need(len(files))
        try:
            sent = transfer.send(files, need, self._stream.input)
        except BrokenPipeError:
            return
        if need:
            console.info(f"sent {len(need)} of {len(files)} files, {sent / 2**20:.1f} MiB")

    def _expect(self, kind: str) -> Frame:
        """The next frame, which must be of a kind. Raises CommandError with what the server says instead."""
        assert self._stream is not None
        frame = read_frame(self._stream.output)
        if frame is not None and frame.kind == kind:
            self._heard = True
            return frame
        messages = self._close()
        if frame:
            raise refusal(frame) if frame.kind == "refused" else unexpected(f"{frame.kind[:80]!r} instead of {kind!r}")
        failure = self._connector.failure(messages)
        # Once it has answered, the run may have started: then it is not started again.
        raise _NoConnectionError(failure._replace(passed=failure.passed and not self._heard))

    def _close(self) -> str:
        stream, self._stream = self._stream, None
        return stream.close()[1] if stream else ""

    def _follow(self) -> int:
        """Copy the output until the run has ended, and return its exit code.

        A connection that worked is made again when it is cut. Raises CommandError when the first one can't be made,
        when the server is stopped, gone or refuses the person, and after GIVE_UP_SECONDS.
        """
        with _on_interrupt(self._interrupted):
            connected = self._heard
            lost, pause = time.monotonic(), RETRY_SECONDS
            while True:
                failure = self._connect()
                if failure is None:
                    last = self._copy_output()
                    if last is not None:
                        self._close()
                        return self._ended(last)
                    messages = self._close()
                    if self._heard:
                        self._heard, connected = False, True
                        lost, pause = time.monotonic(), RETRY_SECONDS
                        console.info(f"the connection was cut; run {self._run} goes on, connecting again")
                    else:
                        failure = self._connector.failure(messages)
                over = time.monotonic() - lost > GIVE_UP_SECONDS
                if failure and (over or failure.final or not (connected or failure.passed)):
                    raise failure.error
                time.sleep(pause)
                pause = min(pause * 2, MAX_RETRY_SECONDS)

    def _copy_output(self) -> Frame | None:
        """Copy output to stdout; return the frame that ends it, None when the connection ended."""
        assert self._stream is not None
        while frame := read_frame(self._stream.output):
            self._heard = True
            if frame.kind in ("ended", "refused"):
                return frame
            if frame.kind == "heard":
                self._confirmed = self._confirmed or frame.fields.get("word") == self._asked
                continue
            if frame.kind != "output":
                raise unexpected(f"{frame.kind[:80]!r} while the run goes on")
            after = frame.next(self._next)
            write_all(1, frame.output)
            self._next = after
        return None

    def _connect(self) -> ConnectionFailure | None:
        """Connect unless there is a connection; return why that failed."""
        if self._stream is not None:
            return None
        words = [DEVSERVER, "attach", self._run, "--stream", "--from", str(self._next)]
        # Taken before there is a connection: a Ctrl-C from then on sends its word itself.
        again = "" if self._confirmed else self._asked
        try:
            self._stream = self._connector.start(words)
        except UnreachableError as error:
            return ConnectionFailure(CommandError(str(error), "`devctl info` shows the cluster in use", TRANSPORT))
        except CommandError as error:
            return ConnectionFailure(error, final=is_final(error))
        if again:
            self._say(again)
        return None

    def _ended(self, frame: Frame) -> int:
        """The exit code of a run by its last frame. Raises CommandError when it was lost."""
        if frame.kind == "refused":
            raise refusal(frame)
        record = frame.record()
        name = self._connector.name
        if record["state"] == "lost":
            raise CommandError(
                f"run {self._run} was lost: {name} stopped while it ran",
                f"`devctl logs {name} {self._run}` shows what it printed",
                FAILURE,
            )
        code = int(record["exitCode"])
        if not 0 <= code <= MAX_EXIT_CODE:
            console.info(f"run {self._run} ended with exit code {code}, which no command has: devctl ends with 1")
            return FAILURE
        if record.get("canceled"):
            console.info(f"run {self._run} was canceled (exit code {code})")
        elif code:
            console.info(f"run {self._run} failed with exit code {code}")
        return code

    def _interrupted(self) -> None:
        """Ask the run to end; kill it when that has reached the agent before."""
        name = self._connector.name
        if self._stream is None:
            sys.stderr.write("\n")
            raise CommandError(
                f"there is no connection to {name}, and run {self._run} goes on",
                f"`devctl cancel {name} {self._run}` ends it, `devctl attach {name} {self._run}` follows it",
                INTERRUPTED,
            )
        if self._asked and not self._confirmed:
            console.info(
                f"\n{name} has not answered yet: devctl asks again when it has connected again;"
                f" `devctl cancel {name} {self._run} --kill` kills the run"
            )
            return
        if not self._asked:
            console.info("\nasking the run to end; Ctrl-C again kills it")
        else:
            console.info("\nkilling the run")
        self._asked, self._confirmed = ("kill" if self._asked else "cancel"), False
        self._say(self._asked)

    def _say(self, word: str) -> None:
        assert self._stream is not None
        # What gets lost is not confirmed, and said again after the reconnect.
        with suppress(OSError):
            os.write(self._stream.input.fileno(), f"{word}\n".encode())


@contextmanager
def _on_interrupt(handle: Callable[[], None]) -> Iterator[None]:
    before = signal.signal(signal.SIGINT, lambda *_: handle())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
