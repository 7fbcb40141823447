"""From the bastion to a server: straight to its Service, with a certificate of five minutes made for this one call.

Invariant: the private key exists in memory only and ends with this process, even by kill -9; ssh is given nothing
that starts another program, reads a file or opens a port on the bastion.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from devctl import broker, knownhosts
from devctl.defaults import HOST_SUFFIX, KEEPALIVE
from devctl.dial import BANNER, patiently, unanswered
from devservers_core import names
from devservers_core.errors import TRANSPORT, USAGE, CommandError
from devservers_core.protocol.broker import CertificateRequest

if TYPE_CHECKING:
    from devctl.session import Session
    from devservers_core.types import Json

MEMORY = "/dev/shm"
SWITCHES = frozenset("AaTtvqn46C")
"""ssh's options that only say how this one session is to be; -A is the agent, on request."""
CONNECT = 10.0
SETTLING = 15.0
"""Seconds until the nodes have surely heard of the Service of a server that is up: each writes its rules by itself."""
_ELSEWHERE = "on your own machine `devctl ssh` takes every option of ssh; `devctl ssh-config` says how to set it up"


def connect(session: Session, name: str, rest: list[str]) -> int:
    """`devctl ssh NAME REST...` on the bastion; the exit code. Raises CommandError."""
    switches, command = permitted(rest)
    server = reached(session, name)
    name = str(server["metadata"]["name"])
    assert session.broker is not None
    private, certificate = _certified(session.broker)
    known = _in_memory("known_hosts", f"{name} {knownhosts.key_of(server)}\n".encode())
    options = {
        "User": names.LOGIN,
        "HostName": host(session, name),
        "Port": str(names.SSH_PORT),
        "HostKeyAlias": name,
        "UserKnownHostsFile": known,
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "CheckHostIP": "no",
        "UpdateHostKeys": "no",
        "IdentityFile": private,
        "CertificateFile": certificate,
        "IdentitiesOnly": "yes",
        "PreferredAuthentications": "publickey",
        "EscapeChar": "none",
        **KEEPALIVE,
    }
    words = ["ssh", "-F", "none"]
    for key, value in options.items():
        words += ["-o", f"{key}={value}"]
    # After `--` ssh takes nothing for an option any more, not even behind the host's name (ssh.c, opt_terminated).
    words += [*switches, "--", name + HOST_SUFFIX, *command]
    session.kube.close()
    # Not execve: the files without names above are there as long as this process.
    return outlived(subprocess.Popen(words, executable=_program("ssh")))


def reached(session: Session, name: str) -> Json:
    """The server, once it answers from here. Raises CommandError."""
    return patiently(session, name, _answers, SETTLING)


def join(session: Session, name: str) -> int:
    """`devctl proxy NAME` on the bastion: standard input and output joined to the server's SSH port."""
    import select

    from devctl.relay import QUIET, write_all

    server = reached(session, name)
    session.kube.close()
    with _open(session, server) as connection:
        watched: list[int] = [0, connection.fileno()]
        while True:
            ready, _, _ = select.select(watched, [], [], None if 0 in watched else QUIET)
            if not ready:
                return 0
            for handle in ready:
                data = os.read(handle, 65536)
                if handle == 0 and not data:
                    watched.remove(0)
                    connection.shutdown(socket.SHUT_WR)
                elif not data:
                    return 0
                else:
                    write_all(connection.fileno() if handle == 0 else 1, data)


def permitted(rest: list[str]) -> tuple[list[str], list[str]]:
    """The options and the command out of what follows NAME; raises CommandError for an option that is not for here."""
    for at, word in enumerate(rest):
        if word == "--":
            return rest[:at], rest[at + 1 :]
        if not word.startswith("-") or word == "-":
            return rest[:at], rest[at:]
        if not SWITCHES.issuperset(word[1:]):
            raise CommandError(f"ssh's option {word[:40]} is not possible on the bastion", _ELSEWHERE, USAGE)
    return rest, []


def host(session: Session, name: str) -> str:
    """The server's Service."""
    return f"{name}.{session.namespace}.{names.SERVICE_DOMAIN}"


def _open(session: Session, server: Json) -> socket.socket:
    """A connection to the server's SSH port; raises CommandError."""
    name = str(server["metadata"]["name"])
    try:
        connection = socket.create_connection((host(session, name), names.SSH_PORT), CONNECT)
        connection.settimeout(None)
        return connection
    except OSError as error:
        text = "connection refused" if isinstance(error, ConnectionRefusedError) else error.strerror or str(error)
        raise unanswered(name, text) from None


def _answers(session: Session, server: Json) -> Json:
    """The server, once SSH speaks there; raises CommandError before that."""
    with _open(session, server) as connection:
        connection.settimeout(BANNER)
        try:
            if not connection.recv(1):
                raise unanswered(server["metadata"]["name"], "it hung up")
        except OSError as error:
            raise unanswered(server["metadata"]["name"], error.strerror or "no word") from None
    knownhosts.key_of(server)
    return server


def _certified(path: str) -> tuple[str, str]:
    """Paths of a new private key and of its certificate. Raises CommandError."""
    # ssh-keygen writes files only; these live for milliseconds, in memory, in a folder that is ours alone.
    with tempfile.TemporaryDirectory(prefix="devctl-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        key = Path(folder, "key")
        done = subprocess.run(
            [_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise CommandError(f"no key could be made: {done.stderr.strip()}", "tell an administrator", TRANSPORT)
        private, public = key.read_bytes(), key.with_suffix(".pub").read_text().strip()
    certificate = broker.ask(path, CertificateRequest(public)).certificate
    return _in_memory("key", private), _in_memory("certificate", certificate.encode() + b"\n")


def _in_memory(name: str, content: bytes) -> str:
    """The path of a file without a name, for programs that we start; mode 0600, as ssh wants it."""
    handle = os.memfd_create(name)
    os.fchmod(handle, 0o600)
    os.write(handle, content)
    return f"/proc/{os.getpid()}/fd/{handle}"


def _program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise CommandError(f"there is no {name} on this bastion", "tell an administrator", TRANSPORT)
    return found


def outlived(child: subprocess.Popen[bytes]) -> int:
    """The child's exit code; what a terminal or sshd sends us goes to it as well, and we wait for its end."""
    import signal

    ignored = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)  # ssh has the terminal
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    for number in (signal.SIGTERM, signal.SIGHUP):
        before[number] = signal.signal(number, lambda number, _: child.send_signal(number))
    try:
        while True:
            _, status = os.waitpid(child.pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                break
            os.kill(os.getpid(), signal.SIGSTOP)  # with it, so that the shell has its terminal back
            child.send_signal(signal.SIGCONT)
    finally:
        # Another program may follow, and it inherits what is ignored.
        for number, handler in before.items():
            signal.signal(number, handler)
    code = child.returncode = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
