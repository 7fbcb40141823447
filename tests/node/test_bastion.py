"""SSH through the bastion of `make up` with the system's own client."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import SSHCertificate, load_ssh_public_identity

from devservers.build.host_certificate import sign
from devservers.build.host_key import host_key_name
from devservers_core.names import HOST_CA_SECRET, HOST_CERTIFICATE_FILE, HOST_KEY_PUBLIC_FILE, SYSTEM_NAMESPACE
from tests.support.node.laptop import NAMESPACE, Laptop, add, add_key, await_success, pods, read_until
from tests.support.node.person import BIN, Person, Platform
from tests.support.node.wait import eventually


@pytest.fixture(scope="module")
def laptop(platform: Platform, ann: Person, tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """Ann's other machine, whose key is one of hers from now on."""
    laptop = Laptop(tmp_path_factory.mktemp("laptop"), platform, ann.name)
    add_key(platform, laptop)
    return laptop


@pytest.fixture(scope="module")
def inside(laptop: Laptop, devserver: str) -> str:
    """The server, once the laptop's key is in it: within the kubelet's sync time."""
    probe = ("ssh", "-F", str(laptop.config(devserver)), devserver, "true")
    await_success(lambda: laptop.run(*probe, check=False), "a login to the server with the new key", 100)
    return devserver


@pytest.fixture(scope="module")
def bob(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """Somebody else, added as an administrator adds them."""
    laptop = Laptop(tmp_path_factory.mktemp("bob"), platform, "bob")
    add(platform, laptop)
    await_success(lambda: laptop.ssh("devctl", "list", check=False), "bob's first login", 60)
    yield laptop
    platform.cluster.kubectl("delete", "devserveruser", "bob", "--wait=false")


def every(platform: Platform) -> list[Any]:
    """The bastion's pods, those that go too."""
    return list(platform.get("pods", "-n", NAMESPACE)["items"])


def test_bastion_login_with_a_listed_key_runs_devctl(laptop: Laptop, devserver: str) -> None:
    assert devserver in laptop.ssh("devctl", "list").stdout


def test_publish_with_a_dead_clusters_port_rule_replaces_the_rule(platform: Platform) -> None:
    port = "32999"
    words = ["-d", "127.0.0.1/32", "-p", "tcp", "-m", "tcp", "--dport", port]
    rule = ["OUTPUT", *words, "-m", "comment", "--comment", "dsvdead0000", "-j", "DNAT", "--to-destination", "10.0.0.1"]
    subprocess.run(["iptables", "-w", "-t", "nat", "-A", *rule], check=True)
    assert platform.cluster.publish(int(port)) == int(port)
    rules = subprocess.run(["iptables", "-w", "-t", "nat", "-S"], capture_output=True, text=True, check=True).stdout
    assert "dsvdead0000" not in rules
    assert rules.count(f"--dport {port} ") == 1


def test_create_with_a_line_break_in_a_variable_keeps_it(laptop: Laptop) -> None:
    made = laptop.ssh("devctl create lines --dry-run -o json --env 'PEM=first\nsecond'").stdout
    assert json.loads(made)["spec"]["env"] == [{"name": "PEM", "value": "first\nsecond"}]


def test_bastion_login_with_an_unknown_key_is_denied(laptop: Laptop, tmp_path: Path) -> None:
    stranger = Laptop(tmp_path, laptop.platform, "ann")
    for name in ("ann", "root", "nobody-there"):
        done = stranger.ssh("devctl", "list", name=name, check=False)
        assert done.returncode == 255
        assert "Permission denied" in done.stderr


def test_devctl_ssh_on_the_bastion_without_an_agent_reaches_the_server(laptop: Laptop, devserver: str) -> None:
    done = laptop.ssh("devctl", "ssh", devserver, "--", "id -un; hostname; exit 7", check=False)
    assert (done.returncode, done.stdout.split()) == (7, ["dev", devserver])


def test_scp_and_sftp_through_the_bastion_copy_without_a_host_key_prompt(laptop: Laptop, inside: str) -> None:
    """Only the CA's line is known; the server shows its certificate."""
    before = laptop.known.read_text()
    config = str(laptop.config(inside))
    data = os.urandom(3_000_000)
    (laptop.folder / "up").write_bytes(data)
    laptop.run("scp", "-F", config, "up", f"{inside}:up")
    laptop.run("scp", "-F", config, f"{inside}:up", "down")
    assert (laptop.folder / "down").read_bytes() == data
    laptop.run("sftp", "-F", config, "-b", "-", inside, text="get up again\nrm up\n")
    assert (laptop.folder / "again").read_bytes() == data
    assert laptop.known.read_text() == before


def grow_old(platform: Platform, namespace: str, server: str) -> int:
    """Puts a host certificate of ten months ago in place of a server's, by the real CA; its serial."""
    ca, stored = (
        {entry: b64decode(data).decode() for entry, data in platform.get("secret", name, "-n", where)["data"].items()}
        for name, where in ((HOST_CA_SECRET, SYSTEM_NAMESPACE), (host_key_name(server), namespace))
    )
    known = load_ssh_public_identity(stored[HOST_CERTIFICATE_FILE].encode())
    assert isinstance(known, SSHCertificate)
    names = [name.decode() for name in known.valid_principals]
    old = sign(ca["ca"], stored[HOST_KEY_PUBLIC_FILE], names, datetime.now(UTC) - timedelta(days=300)).encode()
    patch = json.dumps({"data": {HOST_CERTIFICATE_FILE: b64encode(old).decode()}})
    platform.cluster.kubectl("patch", "secret", host_key_name(server), "-n", namespace, "--type=merge", "-p", patch)
    made = load_ssh_public_identity(old)
    assert isinstance(made, SSHCertificate)
    return made.serial


def test_running_server_with_a_renewed_host_certificate_presents_it(
    platform: Platform, laptop: Laptop, inside: str
) -> None:
    """Its sessions go on: nobody restarts a server that has run for a year."""
    namespace, config = f"dev-{laptop.name}", str(laptop.config(inside))

    def shown() -> int:
        """The serial that a client sees, who knows the CA and nothing else; 0 while sshd begins anew."""
        done = laptop.run("ssh", "-v", "-F", config, inside, "true", check=False)
        found = re.findall(rf'Server host certificate: .* serial (\d+) ID "{inside}\.', done.stderr)
        return int(found[0]) if done.returncode == 0 and found else 0

    command = ["ssh", "-F", config, inside, "cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as session:
        assert session.stdin is not None
        assert session.stdout is not None
        session.stdin.write("before\n")
        assert session.stdout.readline() == "before\n"
        first = shown()
        assert first
        past = {0, first, grow_old(platform, namespace, inside)}
        # The operator looks when anything changes, and every ten minutes.
        platform.cluster.kubectl("annotate", "devserver", inside, "-n", namespace, "devservers.io/test=look")
        eventually(lambda: shown() not in past, "the renewed certificate", 120)
        session.stdin.write("after\n")
        assert session.stdout.readline() == "after\n"
        session.stdin.close()
        assert session.wait(20) == 0


def test_bastion_tunnel_to_another_users_server_is_prohibited(laptop: Laptop, bob: Laptop, devserver: str) -> None:
    host = f"{devserver}.dev-ann.svc.cluster.local"
    command = ("ssh", *bob.options(), "-p", str(bob.platform.ssh_port), "-W", f"{host}:22", "bob@127.0.0.1")
    done = bob.run(*command, check=False)
    assert done.returncode != 0
    assert "administratively prohibited" in done.stderr


def test_devctl_ssh_on_the_bastion_forwards_the_agent_only_with_the_flag(laptop: Laptop, devserver: str) -> None:
    words = [*laptop.options(), "-A", "-p", str(laptop.platform.ssh_port), f"{laptop.name}@127.0.0.1"]
    inner = ["devctl", "ssh", devserver]
    agent = ["--", "printenv", "SSH_AUTH_SOCK"]
    with_agent = (
        f'eval "$(ssh-agent -s)" >/dev/null; trap "kill $SSH_AGENT_PID" EXIT; ssh-add -q {laptop.key}; ssh "$@"'
    )
    for flags, code in (["-A"], 0), ([], 1):
        done = laptop.run("sh", "-c", with_agent, "sh", *words, *inner, *flags, *agent, check=False)
        assert done.returncode == code, done


def test_devctl_on_a_laptop_without_kubeconfig_uses_the_bastion(ann: Person, laptop: Laptop, devserver: str) -> None:
    """What an administrator sends is enough: no kubeconfig is looked at."""
    folder = laptop.folder / "xdg"
    authority = laptop.known.read_text().split(maxsplit=2)[2].strip()
    env = [
        f"XDG_CONFIG_HOME={folder}", f"HOME={laptop.folder}", "KUBECONFIG=/nonexistent",
        f"PATH={BIN}:{os.environ['PATH']}",
    ]  # fmt: skip

    def devctl(*words: str) -> str:
        return laptop.run("env", "-i", *env, "devctl", *words).stdout

    for key, value in {
        "user": laptop.name, "bastion": f"127.0.0.1:{laptop.platform.ssh_port}", "hostAuthority": authority,
        "identityFile": str(laptop.key),
    }.items():  # fmt: skip
        devctl("config", "set", key, value)
    assert devserver in devctl("list")
    assert devctl("ssh", devserver, "hostname").split() == [devserver]
    (laptop.folder / ".ssh").mkdir(mode=0o700)
    devctl("ssh-config", "--install")
    entries = str(laptop.folder / ".ssh/config")
    assert laptop.run("ssh", "-F", entries, f"{devserver}.devserver", "hostname").stdout.split() == [devserver]
    assert laptop.run("ssh", "-F", entries, devserver, "hostname").stdout.split() == [devserver]
    assert f"ssh-remote+{devserver}.devserver" in devctl("code", devserver)
    devctl("create", "second", "--wait")
    # Not a moment later: the nodes are only just hearing of its Service.
    assert laptop.ssh("devctl", "ssh", "second", "hostname").stdout.split() == ["second"]
    assert laptop.run("ssh", "-F", entries, "second", "hostname").stdout.split() == ["second"]
    # The settings of this machine hold there, and Tab asks there.
    devctl("config", "set", "homeSize", "2Gi")
    assert "persistentHomeSize: 2Gi" in devctl("create", "third", "--dry-run")
    assert "commands run on the bastion" in devctl("info")
    offered = laptop.run(
        "env", "-i", *env, "_DEVCTL_COMPLETE=complete_bash", "COMP_WORDS=devctl ssh sec", "COMP_CWORD=2", "devctl"
    )
    assert offered.stdout.split() == ["second"]
    assert not offered.stderr
    # Whatever keeps ssh out is said in words.
    devctl("stop", "second", "--wait")
    devctl("create", "silent", "--ephemeral", "--no-ssh")
    for name, code, what, todo in (
        ("second", 255, "second is stopped", "devctl start second"),
        ("secnd", 3, "there is no server secnd", "did you mean second"),
        ("silent", 255, "silent has no SSH", "devctl shell silent"),
    ):
        done = laptop.run("env", "-i", *env, "devctl", "ssh", name, "true", check=False)
        assert done.returncode == code, done
        (error, advice) = done.stderr.splitlines()
        assert what in error
        assert todo in advice
    for name in "second", "silent":
        devctl("delete", name, "--purge", "--yes")
    # Without devctl: what the bastion prints, put where it says.
    printed = laptop.ssh("devctl", "ssh-config").stdout
    assert "@cert-authority" in printed
    assert f"Host {devserver}.devserver\n" in printed


def test_bastion_session_container_holds_no_token(platform: Platform, laptop: Laptop) -> None:
    pod = pods(platform)[0]
    inside = ("exec", "-n", NAMESPACE, pod, "-c", "sshd", "--", "sh", "-c")
    look = "find / -xdev -name token 2>/dev/null; ls /var/run/secrets /run/secrets 2>/dev/null; env | grep -i token"
    assert platform.cluster.kubectl(*inside, f"{look}; true").strip() == ""
    capabilities = platform.cluster.kubectl(*inside, "grep CapBnd /proc/1/status").split()[1]
    assert int(capabilities, 16) == sum(1 << bit for bit in (0, 6, 7, 18, 29))
    # The broker answers people's uids and nobody else's: root is none of them.
    ask = (
        "import socket; s=socket.socket(socket.AF_UNIX); s.connect('/run/bastion/sockets/broker/broker.sock');"
        's.sendall(b\'{"want": "token"}\\n\'); print(s.makefile().readline())'
    )
    answer = platform.cluster.kubectl("exec", "-n", NAMESPACE, pod, "-c", "sshd", "--", "python", "-c", ask)
    assert "error" in json.loads(answer)
    assert "token" not in json.loads(answer)


def test_bastion_kubectl_in_another_users_namespace_is_forbidden(laptop: Laptop, bob: Laptop) -> None:
    # By its whole name: `devservers` alone is also the category of all our kinds, the cluster's own among them.
    bob.ssh("kubectl", "get", "devservers.devservers.io")
    for words in (("get", "pods", "-n", "dev-ann"), ("get", "secrets"), ("get", "nodes")):
        done = bob.ssh("kubectl", *words, check=False)
        assert done.returncode != 0
        assert "Forbidden" in done.stderr


def test_suspended_user_loses_open_session_within_ten_seconds(platform: Platform, bob: Laptop) -> None:
    with bob.session() as session:
        read_until(session, "devctl>", 20)
        platform.cluster.kubectl("patch", "devserveruser", "bob", "--type=merge", "-p", '{"spec":{"suspended":true}}')
        began = time.monotonic()
        eventually(lambda: session.poll() is not None, "the session's end", 10)
        assert time.monotonic() - began <= 10
    assert bob.ssh("devctl", "list", check=False).returncode == 255
    platform.cluster.kubectl("patch", "devserveruser", "bob", "--type=merge", "-p", '{"spec":{"suspended":false}}')
    await_success(lambda: bob.ssh("devctl", "version", check=False), "bob's next login", 10)


def test_bastion_login_after_a_replica_is_killed_succeeds(platform: Platform, laptop: Laptop) -> None:
    eventually(lambda: len(pods(platform)) == 2, "two replicas", 60, report=partial(pods, platform))
    platform.cluster.kubectl("delete", "pod", "-n", NAMESPACE, pods(platform)[0], "--grace-period=0", "--force")
    # As in the entries of `devctl ssh-config`: for a second or two a replica that has gone is still asked.
    patient = ["-o", "ConnectionAttempts=4", "-p", str(laptop.platform.ssh_port), f"{laptop.name}@127.0.0.1"]
    assert "devctl" in laptop.run("ssh", *laptop.options(), *patient, "devctl", "version").stdout
    eventually(lambda: len(pods(platform)) == 2, "two replicas again", 60, report=partial(pods, platform))


def test_bastion_rollout_keeps_open_session_and_copy(platform: Platform, laptop: Laptop, inside: str) -> None:
    eventually(lambda: len(pods(platform)) == 2, "two replicas", 60, report=partial(pods, platform))
    before = set(pods(platform))
    data = os.urandom(24_000_000)
    (laptop.folder / "slow").write_bytes(data)
    config = str(laptop.config(inside))
    # 250 KiB a second: a copy that the rollout finds under way, and that goes on after it.
    copy = ["scp", "-l", "2048", "-F", config, "slow", f"{inside}:/tmp/slow"]
    with (
        laptop.session() as session,
        subprocess.Popen(copy, cwd=laptop.folder, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as copying,
    ):
        assert session.stdin is not None
        read_until(session, "devctl>", 20)
        platform.cluster.kubectl("rollout", "restart", "deployment/bastion", "-n", NAMESPACE)
        eventually(
            lambda: len(pods(platform)) == 2 and not before & set(pods(platform)),
            "two new replicas",
            90,
            report=partial(pods, platform),
        )
        assert copying.poll() is None, "the copy ended before the rollout did"
        assert copying.wait(120) == 0, copying.stderr.read() if copying.stderr else ""
        session.stdin.write("version\r")
        read_until(session, "devctl 0", 20)
        session.stdin.write("exit\r")
        assert session.wait(20) == 0
    # Nothing is open any more, so they go: nobody waits out the grace period.
    eventually(lambda: not before & {each["metadata"]["name"] for each in every(platform)}, "the old replicas gone", 60)
    laptop.run("scp", "-F", config, f"{inside}:/tmp/slow", "back")
    assert (laptop.folder / "back").read_bytes() == data
