"""Lifecycle of a server on a real kubelet: home, host key, commands and refusals."""

from __future__ import annotations

import json

import pytest

from tests.support.node.images import loaded
from tests.support.node.person import Person
from tests.support.node.wait import eventually


def test_home_and_host_key_survive_restart_stop_and_delete(ann: Person) -> None:
    ann.devctl("create", "keeper", "--wait", "3m")
    ann.ssh("keeper", "echo precious > work; chmod 600 work")
    key = ann.server("keeper")["status"]["sshHostKey"]
    first = ann.server("keeper")["status"]["podName"]

    ann.devctl("restart", "keeper", "--wait", "3m")
    assert ann.server("keeper")["status"]["podName"] != first
    assert ann.ssh("keeper", "cat work").stdout == "precious\n"

    ann.devctl("stop", "keeper")
    ann.await_server("keeper", lambda server: server["status"]["phase"] == "Stopped", "the server to stop")
    ann.devctl("start", "keeper", "--wait", "3m")
    assert ann.ssh("keeper", "cat work").stdout == "precious\n"

    ann.devctl("delete", "keeper", "--yes")
    assert ann.platform.get("pvc", "keeper-home", "-n", ann.namespace)["status"]["phase"] == "Bound"
    ann.devctl("create", "keeper", "--wait", "3m")
    assert ann.ssh("keeper", "cat work").stdout == "precious\n"
    assert ann.server("keeper")["status"]["sshHostKey"] == key

    ann.devctl("delete", "keeper", "--yes", "--purge")

    def nothing_left() -> bool:
        left = ann.platform.get("pvc,secret", "-n", ann.namespace)["items"]
        return not [item for item in left if item["metadata"]["name"].startswith("keeper")]

    eventually(nothing_left, "home and host key to be gone", 60)


def test_server_with_a_musl_image_without_passwd_accepts_ssh(ann: Person) -> None:
    ann.devctl("create", "tiny", "--image", loaded(ann.platform, "musl"), "--ephemeral", "--wait", "3m")
    try:
        assert ann.ssh("tiny", "echo $HOME $USER; read -r first </etc/passwd; echo $first").stdout.splitlines()[0] == (
            "/home/dev dev"
        )
        # Its /tmp is root's: the agent's socket and temporary files have their place all the same.
        both = 'test -S "$SSH_AUTH_SOCK" && echo mine > /tmp/mine && echo both'
        assert ann.command("ssh-agent", "devctl", "ssh", "tiny", "-A", both).stdout == "both\n"
        done = ann.devctl("ssh", "tiny", "--", "exit 3", check=False)
        assert done.returncode == 3
    finally:
        ann.devctl("delete", "tiny", "--yes")


def test_server_whose_command_exits_keeps_running(ann: Person) -> None:
    ann.devctl("create", "brief", "--ephemeral", "--wait", "3m", "--", "sh", "-c", "echo ran; exit 4")
    try:
        ann.await_output("exit code 4", "logs", "brief", messages=True, seconds=20)
        assert ann.devctl("logs", "brief").stdout == "ran\n"
        assert "exit code 4" in ann.devctl("describe", "brief").stdout
        assert ann.ssh("brief", "echo still here").stdout == "still here\n"
        assert ann.server("brief")["status"]["phase"] == "Running"
    finally:
        ann.devctl("delete", "brief", "--yes")


def test_create_with_an_image_that_cannot_be_pulled_names_it_and_keeps_starting(ann: Person) -> None:
    done = ann.devctl(
        "create", "broken", "--image", "localhost/devservers/nothing:none", "--ephemeral", "--wait", "25s", check=False
    )
    try:
        assert done.returncode == 5
        assert (
            "The image localhost/devservers/nothing:none can't be fetched: its registry doesn't answer." in done.stderr
        )
        assert "localhost/devservers/nothing:none" in ann.devctl("describe", "broken").stdout
        assert ann.server("broken")["status"]["phase"] == "Starting"
        assert "Traceback" not in done.stderr
    finally:
        ann.devctl("delete", "broken", "--yes")


def test_shared_memory_is_tmpfs_of_the_flavors_size(ann: Person, devserver: str) -> None:
    line = ann.ssh(devserver, "df --output=fstype,size -B1 /dev/shm | tail -1").stdout.split()
    assert line == ["tmpfs", str(2**30)]


def test_server_pod_has_no_service_account_token(ann: Person, devserver: str) -> None:
    assert ann.ssh(devserver, "ls /var/run/secrets/kubernetes.io", check=False).returncode != 0


def test_server_ssh_port_from_a_neighbour_pod_is_refused(ann: Person, devserver: str) -> None:
    """The default-deny policy, enforced by the node's own firewall."""
    ann.devctl("create", "neighbour", "--ephemeral", "--wait", "3m")
    try:
        address = ann.platform.get("service", devserver, "-n", ann.namespace)["spec"]["clusterIP"]
        probe = f"timeout 3 bash -c '</dev/tcp/{address}/22'"

        def refused() -> bool:
            return ann.ssh("neighbour", probe, check=False).returncode != 0

        eventually(refused, "the neighbour to be kept out", 30)
        own = ann.ssh(devserver, "timeout 3 bash -c '</dev/tcp/127.0.0.1/2222' && echo open").stdout
        assert own == "open\n"
    finally:
        ann.devctl("delete", "neighbour", "--yes")


def test_dns_inside_a_server_resolves_its_service(ann: Person, devserver: str) -> None:
    shown = ann.ssh(devserver, f"getent hosts {devserver}.{ann.namespace}.svc.cluster.local").stdout
    address = ann.platform.get("service", devserver, "-n", ann.namespace)["spec"]["clusterIP"]
    assert shown.split()[0] == address


@pytest.mark.parametrize(
    ("arguments", "wrong", "remedy"),
    [
        (["create", "x1", "cpu-smal"], "cpu-smal", "cpu-small"),
        (["create", "Bad_Name"], "Bad_Name", "bad-name"),
        (["create", "x1", "--home-size", "lots"], "lots", "10Gi"),
        (["create", "x1", "--env", "HOME=/data"], "HOME", "leave it out"),
        (["create", "x1", "--home-size", "501Gi"], "500Gi", "--home-size"),
        (["create", "x1", "--home-size", "2Ti"], "1Ti", "--home-size 1Ti"),
        (["create", "x1", "--image", "localhost:2379/x/y:1"], "the node itself", "public name"),
        (["create", "x1", "-v", "none:/data"], "none", "shared-home"),
        (["create", "x1", "-v", "none:data"], "data", "/"),
        (["create", "x" * 60], "40", "shorter"),
    ],
)
def test_create_with_bad_input_is_refused_in_two_lines(
    ann: Person, devserver: str, arguments: list[str], wrong: str, remedy: str
) -> None:
    done = ann.devctl(*arguments, check=False)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode in (2, 3, 6)
    assert len(lines) == 2, done.stderr
    assert wrong in lines[0]
    assert remedy in lines[1]
    assert "Traceback" not in done.stderr


def test_list_as_json_and_name_contains_the_server(ann: Person, devserver: str) -> None:
    listed = json.loads(ann.devctl("list", "-o", "json").stdout)
    assert listed["kind"] == "List"
    assert devserver in [item["metadata"]["name"] for item in listed["items"]]
    assert f"devserver/{devserver}" in ann.devctl("list", "-o", "name").stdout.splitlines()
