"""The Debian packages that the embedded cluster and the image builds are made of; installed when missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from infra.local.progress import Progress

PROGRAMS = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "runc": "runc",
    "catatonit": "catatonit",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "iptables": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "ssh": "openssh-client",
    "sftp": "openssh-client",
}
"""What must be runnable, and the package that brings it."""
FILES = {
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}
SSH_SERVER = {"/usr/sbin/sshd": "openssh-server", "/usr/lib/libnss_extrausers.so.2": "libnss-extrausers"}
"""What the bastion's tests run on loopback; nothing else here needs them, so nobody else is given them."""
POLICY = Path("/usr/sbin/policy-rc.d")
NO_SSHD = Path("/etc/ssh/sshd_not_to_be_run")
"""Debian's way to have sshd installed and not started with the machine (openssh-server's README.Debian)."""


class PackageError(RuntimeError):
    """Packages are missing and can't be installed. One line of what is wrong and one of what to do."""


def missing() -> list[str]:
    """The packages that have to be installed, sorted."""
    wanted = {package for program, package in PROGRAMS.items() if not shutil.which(program)}
    return sorted(wanted | set(_absent(FILES)))


def _absent(files: Mapping[str, str]) -> list[str]:
    return sorted(package for file, package in files.items() if not Path(file).exists())


def unfit() -> str | None:
    """Why the embedded cluster can't run on this machine, or None when it can."""
    if os.uname().sysname != "Linux":
        return f"it needs Linux, this is {os.uname().sysname}"
    if os.geteuid() != 0:
        return "it needs root"
    if missing() and not shutil.which("apt-get"):
        return f"{', '.join(missing())} must be installed and this is not Debian"
    return None


def ensure(progress: Progress) -> None:
    """Install what is missing.

    Raises :class:`PackageError` with the installer's words.
    """
    _install(missing(), progress)


def ensure_ssh_server(progress: Progress) -> None:
    """Install an SSH server for tests, which the machine itself will not start, now or later.

    Raises :class:`PackageError` with the installer's words.
    """
    packages = _absent(SSH_SERVER)
    if "openssh-server" in packages:
        NO_SSHD.parent.mkdir(exist_ok=True)
        NO_SSHD.touch()
    _install(packages, progress)


def _install(packages: list[str], progress: Progress) -> None:
    if not packages:
        return
    # A package that brings a server starts it at once (etcd, containerd); ours run in the node only.
    # policy-rc.d is Debian's way to say no (invoke-rc.d(8)); a machine's own is left alone.
    ours = not POLICY.exists()
    try:
        if ours:
            POLICY.write_text("#!/bin/sh\nexit 101\n")
            POLICY.chmod(0o755)
        with progress.step(f"installing {len(packages)} Debian packages"):
            _apt("update", "-qq")
            _apt("install", "-y", "-qq", "--no-install-recommends", *packages)
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)


def _apt(*arguments: str) -> None:
    env = dict(os.environ) | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        ["apt-get", *arguments], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PackageError(
            f"apt-get {arguments[0]} failed: {done.stderr.strip()[-500:]}\n  cure that, then run the command again"
        )
