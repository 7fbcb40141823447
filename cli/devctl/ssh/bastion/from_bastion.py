"""Connects from the bastion to a server's Service, with a certificate for this call.

Runs on the bastion; its counterparts on the laptop are remote_command.py and transport.py.

Invariant: the private key exists in memory only and ends with this process, even by kill -9; ssh is given nothing that
starts another program, reads a file or opens a port on the bastion.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from devctl import broker_client
from devctl.config import HOST_SUFFIX
from devctl.resources.replicas import check_replica, pod_of
from devctl.ssh import known_hosts
from devctl.ssh.options import KEEPALIVE
from devctl.ssh.port_forward import BANNER_SECONDS, connection_failure, retry_until_ready
from devctl.ssh.process import wait_child
from devservers_core import names
from devservers_core.errors import TRANSPORT, USAGE, CommandError
from devservers_core.protocol.broker import CertificateRequest
from devservers_core.replicas import replicas_service

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


MEMORY_FOLDER = "/dev/shm"
ALLOWED_SWITCHES = frozenset("AaTtvqn46C")
"""ssh's options that change this session only; -A forwards the agent, on request."""
CONNECT_SECONDS = 10.0
SERVICE_SETTLING_SECONDS = 15.0
"""Seconds until every node has written its rules for the Service of a server that has just started."""
_USE_LAPTOP = "on your own machine `devctl ssh` takes every option of ssh; `devctl ssh-config` says how to set it up"


def connect(context: Context, name: str, rest: list[str], replica: int = 0) -> int:
    """Run ssh from the bastion to a server, or to a replica of it; return its exit code. Raises CommandError."""
    switches, command = split_options(rest)
    server = wait_reachable(context, name, replica)
    name = str(server["metadata"]["name"])
    assert context.broker is not None
    private, certificate = _request_certificate(context.broker)
    known_hosts_file = _memory_file("known_hosts", f"{name} {known_hosts.host_key(server)}\n".encode())
    host_name, port = address(context, server, replica)
    options = {
        "User": names.LOGIN,
        "HostName": host_name,
        "Port": str(port),
        "HostKeyAlias": name,
        "UserKnownHostsFile": known_hosts_file,
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
    command_line = ["ssh", "-F", "none"]
    for key, value in options.items():
        command_line += ["-o", f"{key}={value}"]
    # After `--` ssh takes nothing for an option any more, not even behind the host's name (ssh.c, opt_terminated).
    command_line += [*switches, "--", name + HOST_SUFFIX, *command]
    context.kube.close()
    # Not execve: the files without names above are there as long as this process.
    return wait_child(subprocess.Popen(command_line, executable=_program("ssh")))


def wait_reachable(context: Context, name: str, replica: int = 0) -> Json:
    """Wait until the server answers from the bastion. Raises CommandError."""

    def probe(context: Context, server: Json) -> Json:
        return _probe(context, server, replica)

    if replica:
        check_replica(context.server(name), replica)
    return retry_until_ready(context, name, probe, SERVICE_SETTLING_SECONDS)


def proxy(context: Context, name: str, replica: int = 0) -> int:
    """Connect stdin and stdout to the SSH port of the server, or of a replica, from the bastion."""
    import select

    from devctl.output.standard_streams import write_all
    from devctl.ssh.stream import HALF_CLOSED_SECONDS

    server = wait_reachable(context, name, replica)
    context.kube.close()
    with _open(context, server, replica) as connection:
        watched: list[int] = [0, connection.fileno()]
        while True:
            ready, _, _ = select.select(watched, [], [], None if 0 in watched else HALF_CLOSED_SECONDS)
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


def split_options(rest: list[str]) -> tuple[list[str], list[str]]:
    """Split what follows NAME into ssh's options and the command.

    Raises CommandError for an option that the bastion does not allow.
    """
    for at, word in enumerate(rest):
        if word == "--":
            return rest[:at], rest[at + 1 :]
        if not word.startswith("-") or word == "-":
            return rest[:at], rest[at:]
        if not ALLOWED_SWITCHES.issuperset(word[1:]):
            raise CommandError(f"ssh's option {word[:40]} is not possible on the bastion", _USE_LAPTOP, USAGE)
    return rest, []


def host(context: Context, name: str) -> str:
    """The host name of the server's Service."""
    return f"{name}.{context.namespace}.{names.SERVICE_DOMAIN}"


def address(context: Context, server: Json, replica: int) -> tuple[str, int]:
    """Host name and port: of the server's Service, which is replica 0, or of another replica's pod."""
    name = str(server["metadata"]["name"])
    if not replica:
        return host(context, name), names.SSH_PORT
    return f"{pod_of(server, replica)}.{host(context, replicas_service(name))}", names.SSH_POD_PORT


def _open(context: Context, server: Json, replica: int) -> socket.socket:
    """Open a connection to the server's SSH port. Raises CommandError."""
    name = str(server["metadata"]["name"])
    try:
        connection = socket.create_connection(address(context, server, replica), CONNECT_SECONDS)
        connection.settimeout(None)
        return connection
    except OSError as error:
        text = "connection refused" if isinstance(error, ConnectionRefusedError) else error.strerror or str(error)
        raise connection_failure(name, text) from None


def _probe(context: Context, server: Json, replica: int) -> Json:
    """Return the server if its SSH answers, or that of a replica. Raises CommandError."""
    with _open(context, server, replica) as connection:
        connection.settimeout(BANNER_SECONDS)
        try:
            if not connection.recv(1):
                raise connection_failure(server["metadata"]["name"], "it closed the connection")
        except OSError as error:
            raise connection_failure(server["metadata"]["name"], error.strerror or "no word") from None
    known_hosts.host_key(server)
    return server


def _request_certificate(path: str) -> tuple[str, str]:
    """Make a key and request its certificate; return the paths of both.

    Raises CommandError.
    """
    # ssh-keygen writes files only; these live for milliseconds, in memory, in a folder that is ours alone.
    with tempfile.TemporaryDirectory(
        prefix="devctl-", dir=MEMORY_FOLDER if os.access(MEMORY_FOLDER, os.W_OK) else None
    ) as folder:
        key = Path(folder, "key")
        done = subprocess.run(
            [_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise CommandError(f"no key could be made: {done.stderr.strip()}", "tell an administrator", TRANSPORT)
        private, public = key.read_bytes(), key.with_suffix(".pub").read_text().strip()
    certificate = broker_client.send_request(path, CertificateRequest(public)).certificate
    return _memory_file("key", private), _memory_file("certificate", certificate.encode() + b"\n")


def _memory_file(name: str, content: bytes) -> str:
    """Write a file in memory, mode 0600; return its path for child processes."""
    handle = os.memfd_create(name)
    os.fchmod(handle, 0o600)
    os.write(handle, content)
    return f"/proc/{os.getpid()}/fd/{handle}"


def _program(name: str) -> str:
    path = shutil.which(name)
    if not path:
        raise CommandError(f"there is no {name} on this bastion", "tell an administrator", TRANSPORT)
    return path
