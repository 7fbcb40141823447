"""Starts, configures and reloads the sshd that takes connections.

Invariant: sshd is a child of the supervisor, never PID 1: its sessions outlive it, and a new one can take its place.

When a container's first process ends the kernel kills all others (pid_namespaces(7)), and sshd ends at once when it
is told to stop taking connections; under a supervisor its sessions stay.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path
from typing import IO

from bastion.paths import Paths
from bastion.sshd_config import SshdSettings, Version, render, version_of
from bastion.supervisor import packets
from devservers_core.names import HOST_CERTIFICATE_FILE, HOST_KEY_FILE

RUN = Path("/run/sshd")
"""Where sshd locks up its unprivileged half; it wants it empty, root's and there (Debian)."""

TEMPORARY = Path("/tmp")
"""Where sshd puts the sockets of forwarded agents."""


class Listener:
    """The sshd that takes connections."""

    def __init__(self, paths: Paths, settings: SshdSettings, sshd: str) -> None:
        """Raises UnsupportedSshdError, OSError."""
        self._paths = paths
        self._settings = settings
        self._sshd = sshd
        # Once: a look at it every few seconds would be a process each, and one that may fail.
        self._version = self._ask_version()
        self._seen: tuple[bytes, ...] = ()
        self.pid: int | None = None
        """Of the running sshd, None while there is none."""
        self.listening = False

    def _ask_version(self) -> Version:
        done = subprocess.run([self._sshd, "-V"], capture_output=True, text=True, check=False)
        return version_of(done.stderr + done.stdout)

    def start(self) -> IO[bytes]:
        """Starts sshd; its log, in packets. Raises OSError."""
        RUN.mkdir(mode=0o755, exist_ok=True)
        _own_files_only(TEMPORARY)
        self.configure()
        command = [self._sshd, "-D", "-e", "-f", str(self._paths.sshd / "sshd_config")]
        ours, theirs = packets.pipe()
        log = open(ours, "rb", buffering=0)  # noqa: SIM115, PTH123 - as long as somebody has the other end
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs, cwd="/"
            )
        except OSError:
            log.close()
            raise
        finally:
            os.close(theirs)
        self.pid = process.pid
        # The supervisor reaps all children itself; Popen must not wait for a pid that may be another's by then.
        process.returncode = 0
        return log

    def configure(self) -> bool:
        """Writes sshd's files from what the Secret's mount holds now.

        Returns whether anything in them is new.

        The key is copied because sshd refuses one that a group may read, which is how a mount with fsGroup has it.
        """
        folder = self._paths.sshd
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A volume begins with a folder that everybody may write in: here somebody would write sshd's configuration.
        folder.chmod(0o700)
        key = (self._paths.host / HOST_KEY_FILE).read_bytes()
        shown = self._paths.host / HOST_CERTIFICATE_FILE
        certificate = shown.read_bytes() if shown.exists() else b""
        config = render(self._paths, self._settings, self._version, certified=bool(certificate)).encode()
        files = {HOST_KEY_FILE: key, HOST_CERTIFICATE_FILE: certificate, "sshd_config": config}
        if tuple(files.values()) == self._seen:
            return False
        for name, content in files.items():
            partial = folder / f".{name}"
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
            partial.replace(folder / name)
        self._seen = tuple(files.values())
        return True

    def reload(self) -> None:
        """Makes sshd read its files again; sessions go on (sshd(8), SIGHUP)."""
        self._signal(signal.SIGHUP)

    def stop(self) -> None:
        """Takes no more connections; sessions go on."""
        self._signal(signal.SIGTERM)

    def exited(self, pid: int) -> bool:
        """Whether this was sshd.

        Called for every child that ends.
        """
        if pid != self.pid:
            return False
        self.pid, self.listening = None, False
        return True

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            os.kill(self.pid, number)


def find_sshd() -> str:
    """The path of sshd, absolute as sshd itself wants to be called. Raises FileNotFoundError."""
    program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if not program:
        raise FileNotFoundError("there is no sshd; install openssh-server")
    return program


def _own_files_only(folder: Path) -> None:
    """Lets people remove nobody's files but their own: a volume begins as a folder without that bit (chmod(1), t)."""
    mode = folder.stat().st_mode
    if not mode & stat.S_ISVTX:
        folder.chmod(stat.S_IMODE(mode) | stat.S_ISVTX)
