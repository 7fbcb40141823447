"""Starts a command in a server over SSH and gives this process its standard streams.

Invariant: Ctrl-C at this terminal does not reach ssh: who uses the streams decides what it means.
"""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from typing import IO, TYPE_CHECKING, NamedTuple, cast

from devctl import validation
from devctl.config import HOST_SUFFIX
from devctl.output import console
from devctl.resources import pods
from devctl.ssh import direct
from devctl.ssh.bastion import endpoint, transport
from devctl.ssh.options import log_flags, option_flags, ssh_program
from devservers_core.errors import FORBIDDEN, NOT_FOUND, REFUSED, TRANSPORT, USAGE, CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devctl.context import Context

ALIVE = ("-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3")
"""ssh's options that end a dead connection after half a minute, so that another one is made. The first value counts."""
DIAGNOSIS_SECONDS = 660.0
"""Seconds in which devctl on the bastion must answer: it waits ten minutes for a server that starts."""
_OVER = re.compile(r"\S+ (?:is (?:stopped|stopping|being deleted)|has no SSH)\b", re.ASCII)
"""What devctl says of a server that won't be reached, in whatever place it runs: ssh passes no other code than 255."""
_REFUSED_BY_SSH = ("Permission denied (", "Host key verification failed")
_TWO_LINES = re.compile(r"^error: (.+)\n\s*try: (.+)$", re.M)


class ConnectionFailure(NamedTuple):
    """Why there was no connection, and what another attempt would bring."""

    error: CommandError
    final: bool = False
    """Whether the server itself is the reason, so that another attempt is useless."""
    passed: bool = False
    """Whether the server can be reached by now."""


def is_final(error: CommandError) -> bool:
    """Whether a server is stopped or gone, or refuses the person, so that another attempt is useless."""
    return error.code in (NOT_FOUND, FORBIDDEN, REFUSED) or _OVER.match(error.what) is not None


class ServerStream:
    """A command in a server: what it reads and writes, and why the connection failed."""

    def __init__(self, command: Sequence[str], log: IO[bytes]) -> None:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # ssh and its ProxyCommand inherit that
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        finally:
            signal.signal(signal.SIGINT, before)
        self._log = log
        self.input = cast("IO[bytes]", self._process.stdin)
        self.output = cast("IO[bytes]", self._process.stdout)

    def close(self) -> tuple[int, str]:
        """End the connection; return ssh's exit code and its messages."""
        with suppress(BrokenPipeError):
            self.input.close()
        try:
            code = self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self.output.close()
        self._log.seek(0)
        messages = self._log.read().decode(errors="replace").replace("\r", "").strip()
        self._log.close()
        return code, messages


class ServerConnector:
    """Connects to one server, as often as it is asked to."""

    def __init__(self, context: Context, name: str) -> None:
        """Raises CommandError on the bastion, which has none of the files that its users' commands are about."""
        if context.broker:
            raise CommandError(
                "this needs your own machine: the bastion has none of your files",
                "run it there; on the bastion `devctl ssh NAME -- devserver run -- COMMAND` starts a run",
                USAGE,
            )
        self.context = context
        self.name = validation.server_name(name.removesuffix(HOST_SUFFIX))
        self._bastion = endpoint.configured(context.config)
        if self._bastion:
            self._bastion.trust()

    def start(self, words: Sequence[str]) -> ServerStream:
        """Start a command. Raises CommandError when the server is stopped or there is no such server."""
        # close() of the stream closes it.
        log = cast("IO[bytes]", tempfile.NamedTemporaryFile(prefix="devctl-ssh-"))  # noqa: SIM115
        return ServerStream([*self._ssh(log.name), shlex.join(words)], log)

    def failure(self, messages: str) -> ConnectionFailure:
        """Explain why there was no connection. Through a bastion a server that starts is waited for."""
        reachable = False
        if self._bastion:
            explained = transport.explain(self._bastion, messages, self.name)
            if explained:
                return ConnectionFailure(explained, final=any(text in messages for text in _REFUSED_BY_SSH))
            if transport.server_unreachable(messages):
                diagnosed = self._diagnose()
                if diagnosed:
                    return ConnectionFailure(diagnosed, final=is_final(diagnosed))
                reachable = True
        said = _TWO_LINES.search(messages)
        if said:
            return ConnectionFailure(CommandError(said[1], said[2], TRANSPORT))
        last = " ".join(messages.split())[-300:] or "it was closed"
        remedy = f"a server that was started before an upgrade needs `devctl restart {self.name}`; else try again"
        error = CommandError(f"the connection to {self.name} failed: {last}", remedy, TRANSPORT)
        return ConnectionFailure(error, passed=reachable)

    def _ssh(self, log: str) -> list[str]:
        if self._bastion:
            program, *options = self._bastion.server_command(self.name, log)
        else:
            server = pods.with_ssh(self.context, self.name)
            if pods.coming_up(server):
                self._say_waiting()
            program = shutil.which("ssh", path=self.context.environ.get("PATH")) or ssh_program()[0]
            options = [*log_flags(log), *option_flags(direct.ssh_options(self.context, self.name))]
            self.context.kube.close()
        return [program, *ALIVE, *options, "-T", self.name + HOST_SUFFIX]

    def _say_waiting(self) -> None:
        console.info(f"waiting for {self.name}")

    def _diagnose(self) -> CommandError | None:
        """What devctl on the bastion says about a server that can't be reached; None when it reaches it."""
        assert self._bastion is not None
        self._say_waiting()
        try:
            done = subprocess.run(
                transport.diagnosis_command(self._bastion, self.name),
                stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
                timeout=DIAGNOSIS_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return CommandError(
                f"devctl on the bastion did not reach {self.name} within {DIAGNOSIS_SECONDS:.0f} s",
                f"`devctl describe {self.name}` shows how far it is",
                TRANSPORT,
            )
        said = _TWO_LINES.search(done.stderr)
        return CommandError(said[1], said[2], done.returncode) if done.returncode and said else None
