"""The listener's files, its sshd process and its log, with a program in sshd's place that says what sshd would."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from bastion.paths import Paths
from bastion.sshd_config import SshdSettings, UnsupportedSshdError
from bastion.supervisor import listener as module
from bastion.supervisor.listener import Listener, find_sshd
from bastion.supervisor.packets import Packets

SSHD = """#!/bin/sh
if [ "$1" = -V ]; then echo '{version}' >&2; exit 0; fi
trap 'echo reloaded >&2' HUP
trap 'exit 0' TERM
echo "Server listening on 0.0.0.0 port 22." >&2
while true; do sleep 0.05; done
"""


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A bastion's folders with a host key; sshd's own folders are within them."""
    monkeypatch.setattr(module, "RUN", tmp_path / "run-sshd")
    monkeypatch.setattr(module, "TEMPORARY", tmp_path)
    found = Paths(tmp_path)
    found.host.mkdir(parents=True)
    (found.host / "ssh_host_ed25519_key").write_text("key 1")
    return found


@pytest.fixture
def sshd(tmp_path: Path) -> Callable[[str], str]:
    """Makes a program that calls itself sshd of a version."""

    def program(version: str) -> str:
        path = tmp_path / "sshd"
        path.write_text(SSHD.format(version=version))
        path.chmod(0o755)
        return str(path)

    return program


def test_listener_writes_sshds_files_once_for_each_host_key(paths: Paths, sshd: Callable[[str], str]) -> None:
    listener = Listener(paths, SshdSettings(), sshd("OpenSSH_10.0p2 Debian"))
    assert listener.configure()
    assert not listener.configure()
    key = paths.sshd / "ssh_host_ed25519_key"
    assert (key.read_text(), key.stat().st_mode & 0o777) == ("key 1", 0o600)
    assert "HostCertificate" not in (paths.sshd / "sshd_config").read_text()
    (paths.host / "ssh_host_ed25519_key").write_text("key 2")
    (paths.host / "ssh_host_ed25519_key-cert.pub").write_text("certificate")
    assert listener.configure()
    assert key.read_text() == "key 2"
    assert "HostCertificate" in (paths.sshd / "sshd_config").read_text()


def test_listener_with_an_sshd_that_is_too_old_refuses_to_start(paths: Paths, sshd: Callable[[str], str]) -> None:
    with pytest.raises(UnsupportedSshdError, match=r"install OpenSSH 9\.2 or later"):
        Listener(paths, SshdSettings(), sshd("OpenSSH_8.9p1 Ubuntu"))


def test_listener_reads_reloads_and_stops_its_sshd(paths: Paths, sshd: Callable[[str], str]) -> None:
    async def main(listener: Listener) -> None:
        _, packets = await asyncio.get_running_loop().connect_read_pipe(Packets, listener.start())
        async with asyncio.timeout(20):
            assert (await packets.next() or "").startswith("Server listening on")
            listener.reload()
            assert await packets.next() == "reloaded"
            listener.stop()
            assert await packets.next() is None
        assert not listener.exited(1)

    listener = Listener(paths, SshdSettings(), sshd("OpenSSH_9.2p1"))
    asyncio.run(main(listener))
    pid = listener.pid
    assert pid is not None
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) in (0, -signal.SIGTERM)
    assert listener.exited(pid)
    assert listener.pid is None
    listener.stop()  # nobody is signalled any more


def test_listener_makes_temporary_files_safe_from_others(paths: Paths, sshd: Callable[[str], str]) -> None:
    module._own_files_only(paths.root)
    assert paths.root.stat().st_mode & 0o1000


def test_find_sshd_without_one_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path: None)
    with pytest.raises(FileNotFoundError, match="install openssh-server"):
        find_sshd()
