"""In through the bastion with an SSH key and nothing else, on the pods that `make up` starts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.bastion import NODE_PORT
from tests.node.laptop import NAMESPACE, Laptop, add, pods, read_until, until
from tests.node.person import Person, Platform

Wait = Callable[..., object]


@pytest.fixture(scope="module")
def laptop(platform: Platform, ann: Person, tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """Ann's other machine, whose key is one of hers from now on."""
    laptop = Laptop(tmp_path_factory.mktemp("laptop"), platform, ann.name)
    keys = [*platform.get("devserveruser", ann.name)["spec"]["sshPublicKeys"], laptop.public]
    patch = json.dumps({"spec": {"sshPublicKeys": keys}})
    platform.cluster.kubectl("patch", "devserveruser", ann.name, "--type=merge", "-p", patch)
    until(lambda: laptop.ssh("devctl", "version", check=False).returncode == 0, "the new key to open the door", 10)
    return laptop


@pytest.fixture(scope="module")
def bob(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """Somebody else, added as an administrator adds them."""
    laptop = Laptop(tmp_path_factory.mktemp("bob"), platform, "bob")
    add(platform, laptop)
    until(lambda: laptop.ssh("devctl", "list", check=False).returncode == 0, "bob's first login", 60)
    yield laptop
    platform.cluster.kubectl("delete", "devserveruser", "bob", "--wait=false")


def test_a_key_is_all_that_a_login_takes(laptop: Laptop, devserver: str) -> None:
    assert devserver in laptop.ssh("devctl", "list").stdout


def test_no_other_key_and_no_other_name(laptop: Laptop, tmp_path: Path) -> None:
    stranger = Laptop(tmp_path, laptop.platform, "ann")
    for name in ("ann", "root", "nobody-there"):
        done = stranger.ssh("devctl", "list", name=name, check=False)
        assert done.returncode == 255 and "Permission denied" in done.stderr


def test_from_the_bastion_to_a_server_without_an_agent(laptop: Laptop, devserver: str) -> None:
    done = laptop.ssh("devctl", "ssh", devserver, "--", "id -un; hostname; exit 7", check=False)
    assert (done.returncode, done.stdout.split()) == (7, ["dev", devserver])


def test_scp_and_sftp_through_the_bastion_and_nobody_is_asked_about_a_host_key(
    laptop: Laptop, devserver: str, eventually: Wait
) -> None:
    """Only the CA's line is known; the server shows its certificate."""
    before = laptop.known.read_text()
    config = str(laptop.config(devserver))
    # The laptop's key reaches the server within the kubelet's sync time (ruling 20).
    probe = ("ssh", "-F", config, devserver, "true")
    eventually(lambda: laptop.run(*probe, check=False).returncode == 0, "the key inside the server", 100)
    data = os.urandom(3_000_000)
    (laptop.folder / "up").write_bytes(data)
    laptop.run("scp", "-F", config, "up", f"{devserver}:up")
    laptop.run("scp", "-F", config, f"{devserver}:up", "down")
    assert (laptop.folder / "down").read_bytes() == data
    laptop.run("sftp", "-F", config, "-b", "-", devserver, text="get up again\nrm up\n")
    assert (laptop.folder / "again").read_bytes() == data
    assert laptop.known.read_text() == before


def test_to_nobody_else_s_server(laptop: Laptop, bob: Laptop, devserver: str) -> None:
    host = f"{devserver}.dev-ann.svc.cluster.local"
    command = ("ssh", *bob.options(), "-p", str(NODE_PORT), "-W", f"{host}:22", "bob@127.0.0.1")
    done = bob.run(*command, check=False)
    assert done.returncode != 0 and "administratively prohibited" in done.stderr


def test_no_token_is_within_reach_of_a_session(platform: Platform, laptop: Laptop) -> None:
    pod = pods(platform)[0]
    inside = ("exec", "-n", NAMESPACE, pod, "-c", "sshd", "--", "sh", "-c")
    look = "find / -xdev -name token 2>/dev/null; ls /var/run/secrets /run/secrets 2>/dev/null; env | grep -i token"
    assert platform.cluster.kubectl(*inside, f"{look}; true").strip() == ""
    capabilities = platform.cluster.kubectl(*inside, "grep CapBnd /proc/1/status").split()[1]
    assert int(capabilities, 16) == sum(1 << bit for bit in (0, 6, 7, 18, 29))
    # The broker answers people's uids and nobody else's: root is none of them.
    ask = (
        "import socket; s=socket.socket(socket.AF_UNIX); s.connect('/run/bastion/sockets/broker.sock');"
        's.sendall(b\'{"want": "token"}\\n\'); print(s.makefile().readline())'
    )
    answer = platform.cluster.kubectl("exec", "-n", NAMESPACE, pod, "-c", "sshd", "--", "python", "-c", ask)
    assert "error" in json.loads(answer) and "token" not in json.loads(answer)


def test_one_person_s_token_is_nothing_in_another_s_namespace(laptop: Laptop, bob: Laptop) -> None:
    # By its whole name: `devservers` alone is also the category of all our kinds, the cluster's own among them.
    bob.ssh("kubectl", "get", "devservers.devservers.io")
    for words in (("get", "pods", "-n", "dev-ann"), ("get", "secrets"), ("get", "nodes")):
        done = bob.ssh("kubectl", *words, check=False)
        assert done.returncode != 0 and "Forbidden" in done.stderr


def test_a_suspended_person_is_out_within_ten_seconds(platform: Platform, bob: Laptop) -> None:
    with bob.session() as session:
        read_until(session, "devctl>", 20)
        platform.cluster.kubectl("patch", "devserveruser", "bob", "--type=merge", "-p", '{"spec":{"suspended":true}}')
        assert until(lambda: session.poll() is not None, "the session's end", 10) <= 10
    assert bob.ssh("devctl", "list", check=False).returncode == 255
    platform.cluster.kubectl("patch", "devserveruser", "bob", "--type=merge", "-p", '{"spec":{"suspended":false}}')
    until(lambda: bob.ssh("devctl", "version", check=False).returncode == 0, "bob to be back", 10)


def test_a_killed_replica_takes_its_own_sessions_and_the_next_try_succeeds(
    platform: Platform, laptop: Laptop, eventually: Wait
) -> None:
    eventually(lambda: len(pods(platform)) == 2, "two replicas", 60)
    platform.cluster.kubectl("delete", "pod", "-n", NAMESPACE, pods(platform)[0], "--grace-period=0", "--force")
    assert "devctl" in laptop.ssh("devctl", "version").stdout
    eventually(lambda: len(pods(platform)) == 2, "two replicas again", 60)


def test_a_rolling_restart_leaves_an_open_session_alone(platform: Platform, laptop: Laptop, eventually: Wait) -> None:
    eventually(lambda: len(pods(platform)) == 2, "two replicas", 60)
    before = set(pods(platform))
    with laptop.session() as session:
        assert session.stdin is not None
        read_until(session, "devctl>", 20)
        platform.cluster.kubectl("rollout", "restart", "deployment/bastion", "-n", NAMESPACE)
        eventually(lambda: len(pods(platform)) == 2 and not before & set(pods(platform)), "two new replicas", 90)
        session.stdin.write("version\r")
        read_until(session, "devctl 0", 20)
        session.stdin.write("exit\r")
        assert session.wait(20) == 0
