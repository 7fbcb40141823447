"""Runs replicas of the bastion, and SSH clients, for the bastion tests.

Invariant: sshd, the bastion's processes and the SSH client are the real ones; nothing of the machine's /etc is changed.

A replica is what a pod is: a process tree of its own (PID and mount namespaces, the supervisor as PID 1), in which
the name service knows the bastion's accounts, and an audit process beside it as another user. Each ends with the
session, and is killed with it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bastion.accounts.render import render
from bastion.accounts.store import Store
from bastion.paths import Paths
from devservers_core.types import Json
from infra.platform.bastion.pod import CAPABILITIES
from tests.support.cluster.harness import _die_with_parent, free_ports
from tests.support.wait import eventually

REPOSITORY = Path(__file__).resolve().parents[3]
PREFIX = Path(sys.base_prefix)
"""Of this Python; it may be in a home where others can't look, so each pod has it in its own folder."""
AUDIT_UID = 10003
SERVER_ADDRESS = f"127.77.0.{1 + int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw'))}"
"""Where the stand-ins for dev servers listen, on port 22: loopback, and this test process's alone."""
DOMAIN = "svc.cluster.local"


@dataclass
class Replica:
    """One bastion pod: its folders, its processes, its ports."""

    name: str
    root: Path
    port: int
    health_port: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    programs: str = ""
    """A folder whose programs come before the system's."""

    @property
    def paths(self) -> Paths:
        """The pod's paths."""
        return Paths(self.root)

    @property
    def python(self) -> str:
        """The interpreter as the pod's processes find it."""
        return str(self.root / "python" / Path(os.path.realpath(sys.executable)).relative_to(PREFIX.resolve()))

    @property
    def log(self) -> str:
        """What the supervisor said, sshd's log included."""
        return (self.root / "supervisor.log").read_text(errors="replace")

    def put(self, users: Sequence[Json], servers: Sequence[Json] = ()) -> None:
        """What keysync does when it hears of these."""
        Store(self.paths).put(render(users, servers, str(self.root / "session")))

    def lines(self) -> list[str]:
        """Audit lines as they were written; one that is only just being written is left out."""
        return [line for line in (self.root / "audit.log").read_text().splitlines(keepends=True) if line[-1:] == "\n"]

    def events(self, event: str = "", **fields: object) -> list[Json]:
        """Audit events with this name and these values."""
        found = [json.loads(line) for line in self.lines()]
        return [
            each
            for each in found
            if event in ("", each["event"]) and all(each.get(key) == value for key, value in fields.items())
        ]

    def start_audit(self, *arguments: str) -> subprocess.Popen[bytes]:
        """The audit container, as its own user."""
        as_itself = ["setpriv", f"--reuid={AUDIT_UID}", f"--regid={AUDIT_UID}", "--clear-groups"]
        process = _start(
            [*IN_POD, "sh", "-ec", _MOUNTS + _RUN, "sh", str(self.root), str(PREFIX), *as_itself, self.python, "-m",
             "bastion", "audit", *arguments],
            self.env,
            (self.root / "audit.log").open("ab"),
            (self.root / "audit.err").open("ab"),
        )  # fmt: skip
        self.processes.append(process)
        eventually(self.paths.audit_socket.exists, "audit socket")
        return process

    def start_supervisor(self, *arguments: str, command: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """The sshd container; `command` replaces the supervisor as PID 1."""
        supervisor = [
            self.python, "-m", "bastion", "supervisor", "--port", str(self.port), "--listen", "127.0.0.1",
            "--session", str(self.root / "session"), "--health-host", "127.0.0.1",
            "--health-port", str(self.health_port), "--deregister-seconds", "0.5", *arguments,
        ]  # fmt: skip
        process = _start(
            [*IN_POD, "sh", "-ec", _MOUNTS + _RUN_QUIETLY, "sh", str(self.root), str(PREFIX), *AS_IN_THE_POD,
             *(command or supervisor)],
            self.env,
            subprocess.DEVNULL,
            (self.root / "supervisor.log").open("ab"),
        )  # fmt: skip
        self.processes.append(process)
        return process

    def start(self, *arguments: str) -> None:
        """Both containers, and wait until logins are taken."""
        self.start_audit()
        self.start_supervisor(*arguments)
        eventually(
            lambda: self.ready()[0] == 200, f"{self.name} ready", 20, report=lambda: f"{self.ready()}; log:\n{self.log}"
        )

    def ready(self) -> tuple[int, str]:
        """Status and text of /readyz; 0 when nobody answers."""
        return self.page("/readyz")

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of a page on the health port."""
        import urllib.error
        import urllib.request

        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}{path}", timeout=5) as got:
                return got.status, got.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def first_process(self) -> int:
        """PID, outside, of the sshd container's PID 1."""
        return eventually(lambda: _inner_pid(self.processes[-1]), "PID 1")

    def audit_process(self) -> int:
        """PID, outside, of the audit process."""
        return eventually(lambda: _inner_pid(self.processes[0]), "the audit process")

    def kill(self) -> None:
        """What the kernel does to a container whose first process is killed."""
        os.kill(self.first_process(), signal.SIGKILL)

    def kill_audit(self) -> None:
        """Kill -9 of the audit process."""
        os.kill(self.audit_process(), signal.SIGKILL)
        self.processes.pop(0).wait()

    def stop(self) -> None:
        """End everything."""
        for process in reversed(self.processes):
            # First what is inside: the audit process has changed its user, which undoes --kill-child.
            if process.poll() is None and (pid := _inner_pid(process)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.kill()
            process.wait()
        self.processes.clear()

    @property
    def env(self) -> dict[str, str]:
        """The containers' environment."""
        return {
            "PATH": f"{self.programs}:/usr/sbin:/usr/bin:/sbin:/bin".lstrip(":"),
            "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'core'}:{REPOSITORY / 'cli'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "BASTION_ROOT": str(self.root),
            "POD_NAME": self.name,
        }


IN_POD = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private")
AS_IN_THE_POD = (
    "setpriv", "--no-new-privs", "--inh-caps=-all",
    f"--bounding-set=-all,{','.join(f'+{name.lower()}' for name in CAPABILITIES)}",
)  # fmt: skip
"""root with the capabilities of the pod's sshd container and no others."""
_MOUNTS = """
root=$1
mount --bind "$2" "$root/python"
shift 2
mount --bind "$root/nsswitch.conf" /etc/nsswitch.conf
mount --bind "$root/hosts" /etc/hosts
mount --bind "$root/var/lib/extrausers" /var/lib/extrausers
# Terminals as a container runtime mounts them (OCI runtime specification), whatever the machine's own are like.
mount -t devpts -o newinstance,gid=5,mode=0620,ptmxmode=0666 devpts /dev/pts
mount --bind /dev/pts/ptmx /dev/ptmx
"""
_RUN = 'exec "$@"\n'
_RUN_QUIETLY = 'exec "$@" >&2\n'


@dataclass
class Client:
    """A person's laptop: keys, and the system's own ssh with a configuration that the machine has no part in."""

    folder: Path
    known_hosts: Path
    keys: dict[str, Path] = field(default_factory=dict)

    def key(self, name: str) -> Path:
        """The private key by this name, made at first use."""
        if name not in self.keys:
            path = self.folder / name
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)], check=True)
            self.keys[name] = path
        return self.keys[name]

    def public(self, name: str) -> str:
        """The line of the .pub file."""
        return self.key(name).with_suffix(".pub").read_text().strip()

    def ssh(self, replica: Replica, user: str, *arguments: str, key: str = "") -> list[str]:
        """The command line of an ssh to a replica as `user`."""
        return [*self.options("ssh", user, key), "-p", str(replica.port), f"{user}@127.0.0.1", *arguments]

    def options(self, program: str, user: str, key: str = "") -> list[str]:
        """A program of OpenSSH with the options that all calls share."""
        settings = {
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "UserKnownHostsFile": self.known_hosts,
            "StrictHostKeyChecking": "yes",
            "LogLevel": "ERROR",
        }
        shared = [f"-o{name}={value}" for name, value in settings.items()]
        return [program, "-F", "/dev/null", "-i", str(self.key(key or user)), *shared]

    @contextmanager
    def start(self, replica: Replica, user: str, *arguments: str, key: str = "") -> Iterator[subprocess.Popen[str]]:
        """An ssh that goes on, its streams open; ended with the block."""
        process = subprocess.Popen(
            self.ssh(replica, user, *arguments, key=key),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            preexec_fn=_die_with_parent,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def run(
        self, replica: Replica, user: str, *arguments: str, key: str = "", options: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """One ssh to its end."""
        command = self.ssh(replica, user, *arguments, key=key)
        command[1:1] = options
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False
        )


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What a process says up to the line with `text`; AssertionError with all of it when it ends before."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"it ended without {text!r}: {said}")


def user(client: Client, name: str, uid: int, **spec: object) -> Json:
    """A DevServerUser as the API server gives it, with a key of their own."""
    return {
        "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"username": name, "sshPublicKeys": [client.public(name)], **spec},
        "status": {"uid": uid},
    }


def server(name: str, owner: str) -> Json:
    """A DevServer of theirs."""
    return {"metadata": {"name": name, "namespace": f"dev-{owner}"}}


class World:
    """Replicas with one host key, and a client that knows it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.replicas: list[Replica] = []
        host = folder / "host"
        host.mkdir()
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host / "ssh_host_ed25519_key")], check=True
        )
        known = folder / "known_hosts"
        public = " ".join((host / "ssh_host_ed25519_key.pub").read_text().split()[:2])
        known.write_text(f"* {public}\n")
        laptop = folder / "laptop"
        laptop.mkdir()
        self.client = Client(laptop, known)

    def replica(self, name: str = "") -> Replica:
        """A replica with its folders, not started."""
        name = name or f"bastion-{len(self.replicas)}"
        root = self.folder / name
        port, health = free_ports(2)
        replica = Replica(name, root, port, health)
        paths = replica.paths
        for folder in (
            paths.accounts,
            paths.audit_socket.parent,
            paths.broker_socket.parent,
            paths.extrausers,
            paths.host.parent,
            root / "python",
        ):
            folder.mkdir(parents=True)
        shutil.copytree(self.folder / "host", paths.host)
        os.chown(paths.audit_socket.parent, AUDIT_UID, AUDIT_UID)
        for file in ("passwd", "shadow", "group"):
            (paths.extrausers / file).symlink_to(paths.current / file)
        (root / "nsswitch.conf").write_text(
            "passwd: files extrausers\ngroup: files extrausers\nshadow: files extrausers\nhosts: files\n"
        )
        (root / "hosts").write_text(
            f"127.0.0.1 localhost\n{SERVER_ADDRESS} mydev.dev-ann.{DOMAIN} theirs.dev-bob.{DOMAIN}\n"
        )
        session = root / "session"
        session.write_text(f"#!{replica.python} -IS\n{(Path(__file__).parent / 'stand_in.py').read_text()}")
        session.chmod(0o755)
        (root / "supervisor.log").touch()
        (root / "audit.log").touch()
        self.replicas.append(replica)
        return replica


@contextmanager
def world() -> Iterator[World]:
    """A folder that every account can look into, and everything ended at the end."""
    folder = Path(tempfile.mkdtemp(prefix="devservers-bastion-"))
    folder.chmod(0o755)
    found = World(folder)
    try:
        yield found
    finally:
        for replica in found.replicas:
            replica.stop()
        shutil.rmtree(folder)


@contextmanager
def dev_server(found: World) -> Iterator[None]:
    """A plain sshd where the names of dev servers point to, with ann's key, for whatever goes through a tunnel."""
    folder = found.folder / "devserver"
    folder.mkdir()
    (folder / "keys").write_text(found.client.public("ann") + "\n")
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress {SERVER_ADDRESS}:22\nHostKey {found.folder}/host/ssh_host_ed25519_key\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/keys\nStrictModes no\nPermitRootLogin prohibit-password\n"
        "Subsystem sftp internal-sftp\nUsePAM no\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = _start(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], dict(os.environ), subprocess.DEVNULL, log)
        try:
            eventually(lambda: "Server listening" in (folder / "log").read_text(), "the stand-in dev server")
            yield
        finally:
            process.kill()
            process.wait()


def _inner_pid(outer: subprocess.Popen[bytes]) -> int | None:
    """The one process that unshare started, which is the first of its PID namespace."""
    try:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


def _start(
    command: Sequence[str], env: Mapping[str, str], out: int | IO[bytes], err: IO[bytes]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=err, preexec_fn=_die_with_parent, cwd="/"
    )
