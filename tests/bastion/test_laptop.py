"""devctl on a laptop that knows nothing but the bastion's address and who vouches for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bastion.bastion import SERVER_ADDRESS, Replica, World, server, user
from tests.bastion.people import ship
from tests.cluster.client import eventually

Devctl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def authority(fresh: World) -> str:
    """The host CA's public key; it has signed the bastion's and the servers' host key."""
    ca, host = fresh.folder / "ca", fresh.folder / "host"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(ca)], check=True)
    names = "127.0.0.1,mydev.dev-ann.svc.cluster.local"
    key = host / "ssh_host_ed25519_key.pub"
    subprocess.run(["ssh-keygen", "-q", "-s", str(ca), "-I", "host", "-h", "-n", names, str(key)], check=True)
    return ca.with_suffix(".pub").read_text().strip()


@pytest.fixture
def replica(fresh: World, authority: str) -> Replica:
    """A bastion that ann may log in to."""
    found = fresh.replica()
    found.put([user(fresh.client, "ann", 20000)], [server("mydev", "ann")])
    ship(found, address=f"127.0.0.1:{found.port}", **{"host_ca.pub": authority})
    found.start()
    return found


@pytest.fixture
def laptop(fresh: World, replica: Replica, authority: str, tmp_path: Path) -> Devctl:
    """Runs devctl with settings in a file and no kubeconfig."""
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}

    def run(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "devctl", *words],
            env=environ, input=typed, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    for key, value in (
        ("user", "ann"),
        ("bastion", f"127.0.0.1:{replica.port}"),
        ("hostAuthority", authority),
        ("identityFile", str(fresh.client.key("ann"))),
    ):
        assert run("config", "set", key, value).returncode == 0
    return run


def test_a_command_runs_on_the_bastion_with_its_words_as_they_are(laptop: Devctl, replica: Replica) -> None:
    done = laptop("exec", "my dev", "--", "sh", "-c", 'echo "$HOME"; id')
    assert done.returncode == 6 and "is not a server name" in done.stderr, done
    (start,) = eventually(lambda: replica.events("session_start"), "session_start")
    assert start["argv"] == ["devctl", "exec", "my dev", "--", "sh", "-c", 'echo "$HOME"; id']
    assert start["user"] == "ann"


def test_its_exit_code_passes_on(laptop: Devctl) -> None:
    assert laptop("list", "--foo").returncode == 2


def test_what_is_the_laptops_own_stays_there(laptop: Devctl, replica: Replica) -> None:
    assert laptop("version").returncode == 0
    assert laptop("list", "--help").returncode == 0
    assert "mydev.devserver" in laptop("code", "mydev").stdout
    assert f"127.0.0.1:{replica.port}" in laptop("info").stdout
    assert not replica.events("session_start")


def test_a_server_is_reached_through_the_bastion_without_a_question(
    laptop: Devctl, fresh: World, replica: Replica
) -> None:
    with _trusted_server(fresh):
        done = laptop("ssh", "mydev", "true")
        # There is no account `dev` on this machine: that far, and trusted, is what is tested here.
        assert "dev@mydev.dev-ann.svc.cluster.local: Permission denied" in done.stderr, done
    assert eventually(lambda: replica.events("forward_open"), "forward_open")
    other = laptop("ssh", "theirs", "true")
    assert other.returncode == 255


def test_another_host_key_is_refused(laptop: Devctl) -> None:
    other = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
    laptop("config", "set", "hostAuthority", f"ssh-ed25519 {other}")
    done = laptop("list")
    assert done.returncode == 255 and "Host key verification failed" in done.stderr


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("bastion", "=oProxyCommand=id", "is not an address"),
        ("bastion", "a b", "is not an address"),
        ("bastion", "host:99999", "is not an address"),
        ("hostAuthority", "nonsense", "is not an ssh-ed25519 public key"),
        ("user", "../x", "who you are on the bastion"),
    ],
)
def test_settings_that_cannot_be(laptop: Devctl, key: str, value: str, says: str) -> None:
    assert laptop("config", "set", key, value).returncode == 0
    done = laptop("list")
    assert done.returncode == 2 and says in done.stderr


def test_without_the_authority_it_is_asked_for(laptop: Devctl) -> None:
    assert laptop("config", "unset", "hostAuthority").returncode == 0
    done = laptop("list")
    assert done.returncode == 2 and "devctl config set hostAuthority" in done.stderr


@contextmanager
def _trusted_server(fresh: World) -> Iterator[None]:
    """Where mydev's name leads to: an sshd with the signed host key."""
    folder = fresh.folder / "trusted"
    folder.mkdir()
    key = fresh.folder / "host" / "ssh_host_ed25519_key"
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress {SERVER_ADDRESS}:22\nHostKey {key}\nHostCertificate {key}-cert.pub\nPidFile none\nUsePAM no\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], stderr=log)
    try:
        eventually(lambda: "Server listening" in (folder / "log").read_text(), "the server's sshd")
        yield
    finally:
        running.terminate()
        running.wait(10)
