"""Pulling from a private registry with passwords and TLS of its own CA."""

from __future__ import annotations

import ctypes
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from devcluster.images import Builder
from devcluster.node.components import INSIDE
from devcluster.progress import Progress
from devservers_core.paths import current
from infra.catalog.images import Image
from tests.support.node.person import Person, Platform
from tests.support.node.wait import eventually

HOST, PORT = "registry.devservers.test", 5000
USER, PASSWORD = "puller", "correct horse battery"
MUSL = Image("musl", "images/musl/Dockerfile", "images/musl", ())


@dataclass(frozen=True)
class Registry:
    """A registry that runs in the node, and an image in it."""

    image: str
    log: Path


@pytest.fixture(scope="module")
def registry(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = platform.cluster.folder / "registry"
    folder.mkdir()
    inside = INSIDE / "registry"
    address = json.loads((platform.cluster.folder / "site.json").read_text())["address"]
    _run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
        *("-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt"), "-subj", f"/CN={HOST}"),
        *("-addext", f"subjectAltName=DNS:{HOST},IP:{address}"),
    )
    (folder / "htpasswd").write_text(f"{USER}:{_bcrypt(PASSWORD)}\n")
    (folder / "config.yml").write_text(
        "version: 0.1\n"
        f"storage: {{filesystem: {{rootdirectory: {inside}/data}}}}\n"
        f"http: {{addr: ':{PORT}', tls: {{certificate: {inside}/tls.crt, key: {inside}/tls.key}}}}\n"
        f"auth: {{htpasswd: {{realm: test, path: {inside}/htpasswd}}}}\n"
    )
    (folder / "hosts").write_text(f"{Path('/etc/hosts').read_text()}\n127.0.0.1 {HOST}\n")
    trusted = platform.cluster.folder / "certs.d" / f"{HOST}:{PORT}"
    trusted.mkdir(parents=True)
    (trusted / "hosts.toml").write_text(f'[host."https://{HOST}:{PORT}"]\n  ca = "{inside}/tls.crt"\n')
    platform.cluster.enter("mount", "--bind", str(inside / "hosts"), "/etc/hosts")
    log = folder / "log"
    command = ["nsenter", "-t", str(platform.cluster.pid()), "-m", "-n", "docker-registry", "serve"]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, f"{inside}/config.yml"], stdout=output, stderr=output)
    try:
        eventually(lambda: "listening on" in log.read_text(), "the registry to listen", 20, report=log.read_text)
        certificates = tmp_path_factory.mktemp("certs")
        (certificates / "ca.crt").write_bytes((folder / "tls.crt").read_bytes())
        archive = Builder(current(), Progress()).build([MUSL])["musl"].archive
        _push(tmp_path_factory.mktemp("push"), archive, certificates, f"{address}:{PORT}/team/tool:1")
        yield Registry(f"{HOST}:{PORT}/team/tool:1", log)
    finally:
        process.terminate()
        process.wait()
        platform.cluster.enter("umount", "/etc/hosts")


def _push(storage: Path, archive: Path, certificates: Path, target: str) -> None:
    """Put an OCI archive into the registry."""
    buildah = ["buildah", f"--root={storage}/root", f"--runroot={storage}/run", "--storage-driver=vfs"]
    image = _run(*buildah, "pull", "-q", f"oci-archive:{archive}").strip()
    login = f"--creds={USER}:{PASSWORD}"
    _run(*buildah, "push", "-q", login, f"--cert-dir={certificates}", image, f"docker://{target}")


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[:2]}: {done.stderr[-2000:]}"
    return done.stdout


def _bcrypt(password: str) -> str:
    """As `htpasswd -B` makes it; the C library's crypt(3) knows the method."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    made: bytes = crypt(password.encode(), b"$2y$05$abcdefghijklmnopqrstuu")
    return made.decode()


@pytest.mark.timeout(300)
def test_server_with_a_private_image_starts_after_registry_login(ann: Person, registry: Registry) -> None:
    def message() -> str:
        conditions = ann.server("private").get("status", {}).get("conditions", [])
        return next((f"{c['reason']}: {c['message']}" for c in conditions if c["type"] == "Ready"), "")

    def login(password: str) -> str:
        words = ("registry", "login", f"{HOST}:{PORT}", "--username", USER)
        return ann.devctl(*words, text=password + "\n").stderr

    ann.devctl("create", "private", "--image", registry.image, "--ephemeral")
    try:
        eventually(lambda: message().startswith("ImagePullFailed"), "the image to be refused", 60, report=message)
        assert "for a private registry run `devctl registry login`" in message()
        assert "devctl registry login" in ann.devctl("describe", "private").stdout

        shown = login(PASSWORD)
        ann.await_server(
            "private", lambda server: server["status"]["phase"] == "Running", "the image to be pulled", 120
        )
        assert ann.ssh("private", "echo inside").stdout == "inside\n"

        listed = ann.devctl("registry", "list").stdout
        assert f"{HOST}:{PORT}   {USER}" in listed
        assert PASSWORD not in shown + listed + ann.devctl("registry", "list", "-o", "json").stdout

        ann.devctl("registry", "logout", f"{HOST}:{PORT}")
        assert HOST not in ann.devctl("registry", "list").stdout
        assert ann.devctl("registry", "logout", f"{HOST}:{PORT}", check=False).returncode == 3
    finally:
        ann.devctl("delete", "private", "--yes")
