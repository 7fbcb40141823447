"""Runs the Pulumi CLI for pulumi.automation and hands it the signals that stop it.

Invariant: a stopped update ends in order. The engine gets the first SIGINT, SIGTERM or SIGHUP once, finishes what it
has begun and gives its lock back; a second Ctrl-C, or a second signal after REPEAT_SECONDS, kills it.

pulumi.automation's own command can't do this (sdk/python/lib/pulumi/automation/_cmd.py): it starts the CLI in the
process group of its parent. Ctrl-C then reaches the engine from the terminal, which a handler that passed it on would
double (Pulumi takes a second SIGINT for "terminate at once"), and `kill` of the parent doesn't reach it at all. It also
waits for whole lines, and looks for the CLI at ROOT/bin/pulumi or on PATH only. A subclass is the public way to replace
it: LocalWorkspace takes any PulumiCommand.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import IO

from pulumi.automation import CommandResult, LocalWorkspace, OnOutput, PulumiCommand
from pulumi.automation.errors import create_command_error
from semver import VersionInfo

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, `kill` (a cancelled CI job), and a terminal that is closed."""
REPEAT_SECONDS = 2.0
"""In which another SIGTERM or SIGHUP belongs to the first.

bash repeats the hang-up of its terminal to its jobs, and make passes on a SIGTERM that its process group got as well.
"""
LAST_OUTPUT_SECONDS = 5.0
"""How long the output of a process that has ended is read on: a child that lives on may hold the pipe for ever."""
_CHUNK_BYTES = 65536


class PulumiCli(PulumiCommand):
    """The Pulumi CLI at a path, in an environment of its own."""

    def __init__(self, program: Path, env: Mapping[str, str]) -> None:
        """``env`` stands for the process's environment; what a workspace has in env_vars is added to it."""
        # Not the base's: it runs `pulumi version` at once, in this process's environment.
        self.command = str(program)
        self._env = dict(env)

    @cached_property
    def version(self) -> VersionInfo | None:  # type: ignore[override]  # the base sets it when it is made
        """The CLI's version, which automation asks for before a preview only."""
        env = self._env | {"PULUMI_SKIP_UPDATE_CHECK": "true"}
        done = subprocess.run([self.command, "version"], env=env, capture_output=True, text=True, check=False)
        try:
            return VersionInfo.parse(done.stdout.strip().removeprefix("v"))
        except ValueError:
            return None

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: OnOutput | None = None,
        on_error: OnOutput | None = None,
    ) -> CommandResult:
        """Run a command, never interactively.

        ``on_output`` and ``on_error`` get text as it comes, not line by line: Pulumi shows progress by dots on a line.

        Raises automation's CommandError when it fails, and KeyboardInterrupt when it was stopped by a signal.
        """
        with stop_signals() as stop:
            process = subprocess.Popen(
                [self.command, *args, "--non-interactive"],
                cwd=cwd,
                env={**self._env, **additional_env, "PULUMI_AUTOMATION_API": "true"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # A session of its own, so that the terminal's Ctrl-C comes to this process alone.
                start_new_session=True,
            )
            stop.attach(process)
            assert process.stdout is not None
            assert process.stderr is not None
            output, errors = Reader(process.stdout, on_output), Reader(process.stderr, on_error)
            code = process.wait()
            result = CommandResult(stdout=output.text(), stderr=errors.text(), code=code)
        if stop.count:
            raise KeyboardInterrupt
        if code:
            raise create_command_error(result)
        return result


class Workspace(LocalWorkspace):
    """A workspace whose stacks are never selected: every command names its stack."""

    def select_stack(self, stack_name: str) -> None:
        """Do nothing: in PULUMI_HOME it would change which stack a person's own `pulumi up` goes to."""


class Reader:
    """Reads a stream to its end in a thread, and passes on what it reads."""

    def __init__(self, stream: IO[bytes], passed_to: OnOutput | None) -> None:
        """``passed_to`` gets each piece of text; an OSError of it, of a closed terminal say, is ignored."""
        self._chunks: list[str] = []
        self._thread = threading.Thread(target=self._read, args=(stream, passed_to), daemon=True)
        self._thread.start()

    def text(self) -> str:
        """Everything that was read, once the stream has ended or LAST_OUTPUT_SECONDS have passed."""
        self._thread.join(LAST_OUTPUT_SECONDS)
        return "".join(self._chunks)

    def _read(self, stream: IO[bytes], passed_to: OnOutput | None) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        # A program that can't write would be ended by it in the middle of an update.
        while data := os.read(stream.fileno(), _CHUNK_BYTES):
            text = decoder.decode(data)
            self._chunks.append(text)
            if passed_to is not None:
                with contextlib.suppress(OSError, ValueError):
                    passed_to(text)
        stream.close()


class StopSignals:
    """Passes the first signal to a process as SIGINT and kills its session on the second."""

    def __init__(self) -> None:
        self.count = 0
        self._first = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def attach(self, process: subprocess.Popen[bytes]) -> None:
        """Name the process, and hand it a signal that came before."""
        self._process = process
        if self.count:
            self._pass_on()

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Handle one signal: a repetition of the first is none, but for Ctrl-C."""
        now = time.monotonic()
        if self.count and number != signal.SIGINT and now - self._first < REPEAT_SECONDS:
            return
        self._first = self._first or now
        self.count += 1
        self._pass_on()

    def _pass_on(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        if self.count == 1:
            # SIGINT whichever came: Pulumi cancels an update on it alone.
            self._process.send_signal(signal.SIGINT)
        else:
            kill_session(self._process.pid)


def kill_session(leader: int) -> None:
    """Kill a session's leader and all its processes: the engine gives each plugin a process group of its own."""
    os.killpg(leader, signal.SIGKILL)
    for process in Path("/proc").glob("[0-9]*"):  # none on macOS, where plugins end when they miss their engine
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(int(process.name)) == leader:
                os.kill(int(process.name), signal.SIGKILL)


@contextlib.contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Handle the signals that stop a command while the block runs, but for those that are ignored (nohup)."""
    stop = StopSignals()
    before = {}
    if threading.current_thread() is threading.main_thread():
        handled = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, stop.handle) for number in handled}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
