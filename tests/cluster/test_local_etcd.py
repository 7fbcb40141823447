"""The embedded cluster's etcd: client certificates and an upgrade of its data."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from devcluster.cluster import PROGRAMS
from devcluster.node.components import INSIDE, Site, components
from devcluster.node.pki import Authority
from tests.support.cluster.harness import find_tool, free_ports
from tests.support.wait import eventually

SITE = Site("127.0.0.1", "127.0.0.1", 1500, (), "devservers-test", False)
BEFORE = (
    "--data-dir={folder}/etcd",
    "--listen-client-urls=http://127.0.0.1:2379",
    "--advertise-client-urls=http://127.0.0.1:2379",
    "--listen-peer-urls=http://127.0.0.1:2380",
    "--initial-advertise-peer-urls=http://127.0.0.1:2380",
    "--initial-cluster=default=http://127.0.0.1:2380",
    "--log-level=warn",
)
"""How the version without certificates started it."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A node's folder with etcd's certificates, and one that the cluster's own authority gave a client."""
    etcd = Authority(tmp_path / "pki", "etcd-ca")
    etcd.issue("etcd", "etcd", hosts=("localhost", "127.0.0.1"))
    etcd.issue("apiserver-etcd-client", "kube-apiserver")
    Authority(tmp_path / "pki").issue("kubelet", "system:node:devservers", ("system:masters",))
    return tmp_path


@contextmanager
def _etcd(folder: Path, argv: tuple[str, ...], scheme: str) -> Iterator[int]:
    """Runs etcd with these arguments on free ports; yields its client port."""
    port, peer = free_ports(2)
    command = [
        word.replace(str(INSIDE), str(folder)).replace(":2379", f":{port}").replace(":2380", f":{peer}")
        for word in (str(find_tool("etcd")), *argv)
    ]
    with (folder / "etcd.log").open("ab") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:

        def log_end() -> str:
            return (folder / "etcd.log").read_text()[-2000:]

        def healthy() -> bool:
            assert running.poll() is None, log_end()
            with suppress(OSError):
                health = _request(folder, f"{scheme}://127.0.0.1:{port}/health", "apiserver-etcd-client")["health"]
                return health == "true"
            return False

        eventually(healthy, "etcd to be healthy", 60, report=log_end)
        yield port
    finally:
        running.terminate()
        running.wait(20)


def _request(folder: Path, url: str, client: str | None, **body: str) -> dict[str, str]:
    context = None
    if url.startswith("https"):
        context = ssl.create_default_context(cafile=str(folder / "pki" / "etcd-ca.crt"))
        if client:
            context.load_cert_chain(folder / "pki" / f"{client}.crt", folder / "pki" / f"{client}.key")
    words = {key: base64.b64encode(value.encode()).decode() for key, value in body.items()}
    request = urllib.request.Request(url, json.dumps(words).encode() if words else None)
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        return dict(json.load(answer))


def _now(folder: Path) -> tuple[str, ...]:
    (etcd,) = (part for part in components(SITE, dict.fromkeys(PROGRAMS, "/x")) if part.name == "etcd")
    return tuple(word for word in etcd.argv[1:] if not word.startswith("--quota"))


def test_etcd_data_of_the_version_before_is_kept(folder: Path) -> None:
    before = tuple(word.format(folder=folder) for word in BEFORE)
    with _etcd(folder, before, "http") as port:
        _request(folder, f"http://127.0.0.1:{port}/v3/kv/put", None, key="home", value="precious")
    for _ in range(2):  # and again, from what it has written itself
        with _etcd(folder, _now(folder), "https") as port:
            found = _request(folder, f"https://127.0.0.1:{port}/v3/kv/range", "apiserver-etcd-client", key="home")
            assert base64.b64decode(found["kvs"][0]["value"]) == b"precious"  # type: ignore[index]


@pytest.mark.parametrize(
    ("scheme", "client"), [("http", None), ("https", None), ("https", "kubelet")], ids=["plain", "nobody", "kubelet"]
)
def test_etcd_without_its_client_certificate_is_refused(folder: Path, scheme: str, client: str | None) -> None:
    """Not as containerd asks a registry of the node's loopback, and not with a certificate of the cluster's."""
    with _etcd(folder, _now(folder), "https") as port, pytest.raises((OSError, urllib.error.HTTPError)) as caught:
        _request(folder, f"{scheme}://127.0.0.1:{port}/v2/x/manifests/1", client)
    assert "404" not in str(caught.value), caught.value
