"""A network that stands for the internet, with an index, a repository, a bucket.

It is a network namespace behind a veth pair of its own, reached as the internet is: the node's traffic is forwarded to
it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from devcluster.node.pki import Authority

_SERVER = """
import functools, http.server, pathlib, ssl, sys
folder, address = sys.argv[1:]
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_PUT(self):
        target = pathlib.Path(self.translate_path(self.path))
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
server = http.server.ThreadingHTTPServer((address, 443), functools.partial(Handler, directory=folder + "/served"))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder + "/pki/server.crt", folder + "/pki/server.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
print("listens", flush=True)
server.serve_forever()
"""


@dataclass(frozen=True)
class Internet:
    """Its addresses, the CA and host key of its servers, and a key that its sshd accepts."""

    address: str
    machine: str
    """The machine's end of its veth pair: an address of the machine's that is not the node's neighbour."""
    authority: str
    known_host: str
    key: str
    repository: Path
    pid: int

    def reaches(self, address: str, port: int) -> bool:
        """Whether something of it connects there."""
        return connects(self.pid, address, port)


def connects(pid: int, address: str, port: int) -> bool:
    """Whether a connection from the network of a process gets through."""
    probe = ["timeout", "3", "bash", "-c", f"</dev/tcp/{address}/{port}"]
    return subprocess.run(["nsenter", "-t", str(pid), "-n", *probe], capture_output=True, check=False).returncode == 0


@contextmanager
def running_internet(folder: Path) -> Iterator[Internet]:
    """The network with its servers, as long as the block lasts."""
    at = 4 * (os.getpid() % 63)
    machine, address, link = f"198.51.100.{at + 1}", f"198.51.100.{at + 2}", f"out{os.getpid() % 10**9}"
    with ExitStack() as stack:
        space = stack.enter_context(_running("unshare", "--net", "sh", "-c", "echo up; exec sleep infinity"))
        inside = ("nsenter", "-t", str(space.pid), "-n")
        _run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(space.pid))
        stack.callback(_run, "ip", "link", "del", link)
        _run("ip", "addr", "add", f"{machine}/30", "dev", link)
        _run("ip", "link", "set", link, "up")
        _run(*inside, "ip", "link", "set", "lo", "up")
        _run(*inside, "ip", "addr", "add", f"{address}/30", "dev", "eth0")
        _run(*inside, "ip", "link", "set", "eth0", "up")
        _run(*inside, "ip", "route", "add", "default", "via", machine)
        authority = Authority(folder / "pki")
        authority.issue("server", "outside", hosts=(address,))
        repository = _contents(folder)
        known = _sshd(folder, address)
        stack.enter_context(_running(*inside, sys.executable, "-c", _SERVER, str(folder), address))
        sshd = (*inside, "/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config"))
        stack.enter_context(_running(*sshd, first="Server listening"))
        key = (folder / "person").read_text()
        yield Internet(address, machine, authority.certificate.read_text(), known, key, repository, space.pid)


def _contents(folder: Path) -> Path:
    """A package index with one package, and one repository."""
    index = folder / "served" / "simple" / "from-outside"
    index.mkdir(parents=True)
    wheel = index / "from_outside-1.0-py3-none-any.whl"
    about = "from_outside-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("from_outside.py", "WORDS = 'hello'\n")
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: from-outside\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    (index / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    work, repository = folder / "work", folder / "served" / "repository.git"
    _run("git", "init", "-q", "-b", "main", str(work))
    (work / "README").write_text("hello\n")
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.com")
    _run("git", "-C", str(work), "add", "README")
    _run("git", "-C", str(work), *who, "commit", "-q", "-m", "first")
    _run("git", "clone", "-q", "--bare", str(work), str(repository))
    _run("git", "-C", str(repository), "update-server-info")
    return repository


def _sshd(folder: Path, address: str) -> str:
    """Its configuration and keys; the line of known_hosts."""
    for name in ("host", "person"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name))
    (folder / "sshd_config").write_text(
        f"ListenAddress {address}:22\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/person.pub\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    return f"{address} {(folder / 'host.pub').read_text()}"


@contextmanager
def _running(*argv: str, first: str = "") -> Iterator[subprocess.Popen[str]]:
    """A process that has said its first line, which holds ``first``; ended after the block."""
    started = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert started.stdout is not None
        said = started.stdout.readline()
        assert said, f"{argv} said {said!r}"
        assert first in said, f"{argv} said {said!r}"
        yield started
    finally:
        started.kill()
        started.wait()


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
