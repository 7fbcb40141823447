"""Egress of a server: the internet is open, the cluster and its node are closed."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from devcluster.node.components import API_SERVICE
from tests.support.node.internet import Internet, connects, running_internet
from tests.support.node.person import Person, Platform
from tests.support.node.wait import eventually

METADATA = "169.254.169.254"
_BRIDGE = "10.244.0.1"
"""The node's address on the pods' side."""


@pytest.fixture(scope="module")
def internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    """A network like the internet."""
    with running_internet(tmp_path_factory.mktemp("outside")) as internet:
        yield internet


def test_server_egress_to_the_internet_fetches_packages_repositories_and_buckets(
    ann: Person, devserver: str, internet: Internet
) -> None:
    script = f"""
set -eu
mkdir -p -m 700 /tmp/fetch
cd /tmp/fetch
cat > ca.pem <<'END'
{internet.authority}END
cat > known <<'END'
{internet.known_host}END
(umask 077; cat > key <<'END'
{internet.key}END
)
# pip's other way to check a certificate takes no server that is named by its address.
export PIP_INDEX_URL=https://{internet.address}/simple PIP_CERT=$PWD/ca.pem PIP_USE_DEPRECATED=legacy-certs
python3 -m pip -q download --no-cache-dir --no-deps -d packages from-outside
ls packages
GIT_SSL_CAINFO=$PWD/ca.pem git clone -q https://{internet.address}/repository.git by-https
export GIT_SSH_COMMAND="ssh -F none -i $PWD/key -o IdentitiesOnly=yes -o UserKnownHostsFile=$PWD/known"
git clone -q ssh://root@{internet.address}{internet.repository} by-ssh
cat by-https/README by-ssh/README
echo precious > object
curl -sS --fail --cacert ca.pem -T object https://{internet.address}/bucket/object
curl -sS --fail --cacert ca.pem https://{internet.address}/bucket/object
"""
    said = ann.ssh(devserver, "bash -s", text=script).stdout
    assert said.split() == ["from_outside-1.0-py3-none-any.whl", "hello", "hello", "precious"]


def test_server_egress_to_node_api_server_and_platform_pods_is_refused(ann: Person, devserver: str) -> None:
    """The node on each of its addresses, the API server by its Service, and the platform's own pods."""
    cluster = ann.platform.cluster
    node = cluster.site.address
    endpoints = [(address, port) for address in (node, _BRIDGE) for port in (6443, 10256, 10257, 10259)]
    endpoints += [(node, 10250), (API_SERVICE, 443), *_pods(ann.platform)]
    inside = cluster.pid()
    assert inside is not None
    assert [endpoint for endpoint in endpoints if not connects(inside, *endpoint)] == []  # each is there
    eventually(
        lambda: _open(ann, devserver, endpoints) == [],
        f"{endpoints} to be closed",
        30,
        report=lambda: _open(ann, devserver, endpoints),
    )


def test_server_egress_to_instance_metadata_is_refused(ann: Person, devserver: str) -> None:
    inside = ann.platform.cluster.pid()
    assert inside is not None
    with _metadata(inside):
        assert connects(inside, METADATA, 80)
        assert _open(ann, devserver, [(METADATA, 80)]) == []


def test_server_egress_to_the_host_machine_is_refused_on_every_address(
    ann: Person, devserver: str, internet: Internet
) -> None:
    """And stays open to its own network: between them is only the cluster's veth pair."""
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        assert internet.reaches(internet.machine, port)
        endpoints = [(address, port) for address in (ann.platform.cluster.site.gateway, internet.machine)]
        inside = ann.platform.cluster.pid()
        assert inside is not None
        assert [endpoint for endpoint in endpoints if connects(inside, *endpoint)] == []  # a pull of an image, too
        assert _open(ann, devserver, endpoints) == []


def _open(ann: Person, server: str, endpoints: list[tuple[str, int]]) -> list[str]:
    """The endpoints that a server can open."""
    script = "\n".join(
        f"(timeout 3 bash -c '</dev/tcp/{address}/{port}' 2>/dev/null && echo {address}:{port}) &"
        for address, port in endpoints
    )
    return ann.ssh(server, "bash -s", text=f"{script}\nwait\n").stdout.split()


def _pods(platform: Platform) -> list[tuple[str, int]]:
    """An endpoint of the platform's own that no policy on what comes in closes: Kueue's webhook."""
    pods = platform.get("pods", "-n", "kueue-system", "--field-selector", "status.phase=Running")["items"]
    return [(str(each["status"]["podIP"]), 9443) for each in pods]


@contextmanager
def _metadata(node: int) -> Iterator[None]:
    """Something that answers at the address of a cloud's metadata, in the node's own network."""
    enter = ("nsenter", "-t", str(node), "-n")
    subprocess.run([*enter, "ip", "addr", "add", f"{METADATA}/32", "dev", "lo"], check=True)
    program = (
        f"import socket; s = socket.create_server(('{METADATA}', 80)); print('up', flush=True)\nwhile 1: s.accept()"
    )
    listening = subprocess.Popen([*enter, "python3", "-c", program], stdout=subprocess.PIPE)
    try:
        assert listening.stdout is not None
        assert listening.stdout.readline() == b"up\n"
        yield
    finally:
        listening.kill()
        listening.wait()
        subprocess.run([*enter, "ip", "addr", "del", f"{METADATA}/32", "dev", "lo"], check=True)
