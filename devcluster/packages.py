"""Installs the Debian packages of the embedded cluster, image builds and tests.

This is the one list of them. A test fails when the tests start a program that is not in it (test_programs.py).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from devcluster.progress import Progress

PROGRAMS = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "catatonit": "catatonit",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "iptables": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "mount": "mount",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sftp": "openssh-client",
}
"""What the product must be able to run, and the package that brings it."""
FILES = {
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}
"""What the product opens or runs by its path."""
TEST_PROGRAMS = {
    "bash": "bash",
    "chmod": "coreutils",
    "docker-registry": "docker-registry",
    "env": "coreutils",
    "git": "git",
    "iptables-save": "iptables",
    "make": "make",
    "mkdir": "coreutils",
    "openssl": "openssl",
    "python3": "python3",
    "readlink": "coreutils",
    "scp": "openssh-client",
    "sed": "sed",
    "setpriv": "util-linux",
    "sh": "dash",
    "sleep": "coreutils",
    "ssh-add": "openssh-client",
    "ssh-agent": "openssh-client",
    "timeout": "coreutils",
    "true": "coreutils",
    "umount": "mount",
}
"""What the tests run besides."""
TEST_FILES = {
    "/bin/bash": "bash",
    "/bin/false": "coreutils",
    "/bin/sh": "dash",
    "/usr/bin/python3": "python3",
    "/usr/lib/libnss_extrausers.so.2": "libnss-extrausers",
    "/usr/sbin/sshd": "openssh-server",
}
"""What the tests open or run by its path. The SSH server is for loopback; a machine that runs no tests gets none."""
POLICY = Path("/usr/sbin/policy-rc.d")
NO_SSHD = Path("/etc/ssh/sshd_not_to_be_run")
"""Debian's way to have sshd installed and not started with the machine (openssh-server's README.Debian)."""


class PackageError(RuntimeError):
    """Packages are missing and can't be installed. One line of what is wrong and one of what to do."""


def absent(tests: bool = False) -> dict[str, str]:
    """The programs and files that are not there, each with its package; with ``tests`` the tests' too."""
    programs = PROGRAMS | (TEST_PROGRAMS if tests else {})
    files = FILES | (TEST_FILES if tests else {})
    packages = {program: package for program, package in programs.items() if not shutil.which(program)}
    return packages | {file: package for file, package in files.items() if not Path(file).exists()}


def missing(tests: bool = False) -> list[str]:
    """The packages that have to be installed, sorted; with ``tests`` the tests' too."""
    return sorted(set(absent(tests).values()))


def require() -> None:
    """Raise :class:`PackageError` naming what the tests need and is not there, with the package of each."""
    missing_packages = absent(tests=True)
    if missing_packages:
        named = ", ".join(f"{name} (package {package})" for name, package in sorted(missing_packages.items()))
        raise PackageError(
            f"the tests need {named}\n  run `.venv/bin/python -m devcluster packages`, which installs it"
        )


def unfit() -> str | None:
    """Why the embedded cluster can't run on this machine, or None when it can."""
    if os.uname().sysname != "Linux":
        return f"it needs Linux, this is {os.uname().sysname}"
    if os.geteuid() != 0:
        return "it needs root"
    if missing() and not shutil.which("apt-get"):
        return f"{', '.join(missing())} must be installed and this is not Debian"
    return None


def ensure(progress: Progress, tests: bool = False) -> None:
    """Install what is missing; with ``tests`` what the tests need too. The machine never starts the SSH server.

    Raises :class:`PackageError` with the installer's words.
    """
    packages = missing(tests)
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
