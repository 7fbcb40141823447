"""Runs ssh to the bastion and explains why there was no connection.

Invariant: what the remote side writes passes unchanged. ssh writes its own messages into a file (`-E`); they are
printed when it has ended, or replaced by an explanation where they say that there was no connection.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from devctl.ssh.bastion.endpoint import Bastion
from devservers_core import names
from devservers_core.errors import FORBIDDEN, NOT_FOUND, TRANSPORT, CommandError

if TYPE_CHECKING:
    from devctl.ssh.bastion.endpoint import Bastion


RETRY_REFUSED_SECONDS = 4.0
"""Seconds to try again after a refusal: the Service sends connections to a stopped replica for a second or two."""
_WITH_VALUE = frozenset("BbcDEeFIiJLlmOopPQRSWw")
"""ssh's options that take a value (ssh(1))."""
_UNREACHABLE = re.compile(r"^ssh: (?:connect to host \S+ port \d+|Could not resolve hostname \S+): (.+)$", re.M)
_SILENT = re.compile(r"^(?:Connection timed out during banner exchange|banner exchange: .*timed out)", re.M)
_DENIED = re.compile(r"^(\S+)@(\S+): Permission denied \(", re.M)
_CLOSED = re.compile(
    r"^(?:kex_exchange_identification|banner exchange|ssh_dispatch_run_fatal|Connection (?:closed|reset) by)", re.M
)


def run(bastion: Bastion, command: Callable[[str], list[str]], server: str | None = None, replica: int = 0) -> int:
    """Run ssh to the bastion and return its exit code.

    `command` makes the command line that writes ssh's messages into a file.

    Raises CommandError when there was no connection to the bastion, or through it to `server`.
    """
    began, diagnosed = time.monotonic(), False
    while True:
        code, messages = _run_once(command)
        if code != TRANSPORT or not messages:
            _print_messages(messages)
            return code
        if (
            "Connection refused" in messages
            and _UNREACHABLE.search(messages)
            and time.monotonic() - began < RETRY_REFUSED_SECONDS
        ):
            time.sleep(1)  # nothing of standard input was read: there was no connection
            continue
        failure = explain(bastion, messages, server)
        if failure is not None:
            raise failure
        if server is None or diagnosed or not server_unreachable(messages):
            _print_messages(messages)
            return code
        # devctl on the bastion says it as with a kubeconfig: stopped, misspelt, without SSH, still starting.
        diagnosed = True
        answer = subprocess.run(
            diagnosis_command(bastion, server, replica),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if answer.returncode:
            return answer.returncode if answer.returncode in (NOT_FOUND, FORBIDDEN) else TRANSPORT


def diagnosis_command(bastion: Bastion, server: str, replica: int = 0) -> list[str]:
    """The command line of ssh that lets devctl on the bastion say why a server, or a replica, can't be reached."""
    of_replica = ["--replica", str(replica)] if replica else []
    return [*bastion.ssh("-T"), shlex.join(["devctl", "ssh", server, *of_replica, "true"])]


def output(bastion: Bastion, command: list[str]) -> str:
    """Return the output of a devctl command on the bastion. Raises CommandError."""
    done = subprocess.run(
        [*bastion.ssh("-T"), shlex.join(command)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not done.returncode:
        return done.stdout
    failure = explain(bastion, done.stderr, None) if done.returncode == TRANSPORT else None
    messages = " ".join(done.stderr.split())[:500] or "it gave no reason"
    raise failure or CommandError(
        f"`{shlex.join(command)}` failed on the bastion: {messages}", "try it again", done.returncode
    )


def explain(bastion: Bastion, messages: str, server: str | None) -> CommandError | None:
    """Explain from ssh's messages why there was no connection; None for other messages."""
    address = f"the bastion {bastion.host}:{bastion.port}"
    unreachable, silent = _UNREACHABLE.search(messages), _SILENT.search(messages)
    if unreachable or silent:
        why = unreachable[1].strip() if unreachable else "it does not answer"
        return CommandError(
            f"cannot reach {address} ({why})",
            "is the VPN connected? `devctl info` shows the address and where it comes from",
            TRANSPORT,
        )
    if "Host key verification failed" in messages:
        target = server if server and names.SERVICE_DOMAIN in messages else address
        return CommandError(
            f"hostAuthority does not certify the host key of {target}",
            "compare hostAuthority (`devctl info`) with the line of your administrator; if they are the same, stop here"
            " and tell them",
            TRANSPORT,
        )
    if "Too many authentication failures" in messages:
        return CommandError(
            f"your agent offered more keys than {address if server is None else 'the other side'} tries",
            "name the right one: `devctl config set identityFile ~/.ssh/KEY`",
            TRANSPORT,
        )
    denied = _DENIED.search(messages)
    if denied and denied[2] == bastion.host:
        return CommandError(
            f"{address} refuses {bastion.user}: it accepted none of the keys offered",
            "check the name and the key (`devctl info`); if both are right, an administrator sees with"
            f" `devctl user show {bastion.user}` whether the account is suspended or has another key",
            TRANSPORT,
        )
    if denied and server:
        return CommandError(
            f"{server} does not accept your key",
            "a key that was added reaches a running server within 90 seconds; `devctl keys list` shows yours",
            TRANSPORT,
        )
    if server_unreachable(messages):
        return None
    if _CLOSED.search(messages):
        return CommandError(
            f"{address} closed the connection before the login",
            "try again in a minute: it restarts, or waits after many failed logins from your network",
            TRANSPORT,
        )
    return None


def wants_messages(rest: list[str]) -> bool:
    """Whether ssh's options in `rest` ask for its messages themselves: -v or -E."""
    remaining = iter(rest)
    for word in remaining:
        if not word.startswith("-") or word in ("-", "--"):
            return False
        for at, letter in enumerate(word[1:], 1):
            if letter in "vE":
                return True
            if letter in _WITH_VALUE:
                if at == len(word) - 1:
                    next(remaining, None)
                break
    return False


def _run_once(command: Callable[[str], list[str]]) -> tuple[int, str]:
    """Run ssh once; return its exit code and its own messages."""
    from devctl.ssh.process import wait_child

    with tempfile.NamedTemporaryFile(prefix="devctl-ssh-") as log:
        code = wait_child(subprocess.Popen(command(log.name)))
        return code, log.read().decode(errors="replace").replace("\r", "").strip()


def server_unreachable(messages: str) -> bool:
    """Whether the bastion could not connect, or refused to connect, to the server."""
    return "open failed" in messages or "stdio forwarding failed" in messages


def _print_messages(messages: str) -> None:
    if messages:
        from devctl.output import console

        sys.stderr.write("".join(console.printable(line) + "\n" for line in messages.splitlines()))


def list_servers(bastion: Bastion) -> list[str]:
    """List the names of the user's servers, over ssh. Raises CommandError."""
    bastion.trust()
    answer = output(bastion, ["devctl", "list", "-o", "name"])
    return [line.partition("/")[2] for line in answer.splitlines() if "/" in line]
