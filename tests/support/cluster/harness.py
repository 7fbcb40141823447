"""Runs etcd, kube-apiserver and controllers, and issues identities for them.

Invariant: every process is the session's own, on loopback; it is ended by the test session that started it, and dies
with it when the session is killed.

Binaries: $DEVSERVERS_TOOLS_DIR first, then the project's toolchain, then the PATH.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devcluster.node.pki import Authority, service_account_key
from devservers_core.client import kubeconfig
from tests.support.cluster.client import Client

START_SECONDS = 90.0
_PREFIX = "devservers-test-"
ADMIN = ("test-admin", ("system:masters",))

_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
        {"level": "None"},
    ],
}


@dataclass(frozen=True)
class Write:
    """One writing request from the audit log; `code` is the HTTP status it was answered with."""

    user: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    agent: str


class ApiServer:
    """A running API server: identities for it, and the log of what was written by whom."""

    def __init__(self, url: str, directory: Path, authority: Authority) -> None:
        self.url = url
        self.directory = directory
        self._authority = authority
        self._identities: dict[tuple[str, tuple[str, ...]], tuple[Path, Path]] = {}
        self.admin = self.client_for(*ADMIN)

    def client_for(self, user: str, groups: Sequence[str] = ()) -> Client:
        """A client that is `user`, a member of `groups`; RBAC decides what it may do."""
        return Client(self.url, self._authority.certificate, *self._pair(user, tuple(groups)))

    def kubeconfig_for(self, user: str, groups: Sequence[str] = (), namespace: str = "default") -> Path:
        """A kubeconfig file for the same, its context named `test`."""
        certificate, key = self._pair(user, tuple(groups))
        cluster = {"server": self.url, "certificate-authority": str(self._authority.certificate)}
        person = {"client-certificate": str(certificate), "client-key": str(key)}
        path = certificate.with_suffix(f".{namespace}.kubeconfig")
        return kubeconfig.write(path, kubeconfig.document("test", cluster, person, namespace))

    def service_account(self, namespace: str, name: str) -> tuple[str, tuple[str, ...]]:
        """User name and groups of a service account, to be given to client_for and kubeconfig_for."""
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return f"system:serviceaccount:{namespace}:{name}", groups

    def audit_mark(self) -> int:
        """The present end of the audit log, for `writes`."""
        return self._audit_log.stat().st_size if self._audit_log.exists() else 0

    def writes(self, user: str | None = None, since: int = 0) -> list[Write]:
        """Writing requests after the mark `since`, in order, of one user if given; dry runs included."""
        if not self._audit_log.exists():
            return []
        with self._audit_log.open("rb") as log:
            log.seek(since)
            lines = log.read().splitlines(keepends=True)
        found = []
        for line in lines:
            # The server may be in the middle of its last line.
            if not line.endswith(b"\n"):
                continue
            event = json.loads(line)
            if event.get("stage") != "ResponseComplete" or "objectRef" not in event:
                continue
            if user is None or event["user"]["username"] == user:
                found.append(_write(event))
        return found

    @property
    def _audit_log(self) -> Path:
        return self.directory / "audit.log"

    def _pair(self, user: str, groups: tuple[str, ...]) -> tuple[Path, Path]:
        known = self._identities.get((user, groups))
        if known is None:
            known = self._authority.issue(f"identity-{len(self._identities)}", user, groups)
            self._identities[(user, groups)] = known
        return known


def _write(event: Mapping[str, object]) -> Write:
    target = event["objectRef"]
    user = event["user"]
    status = event.get("responseStatus")
    assert isinstance(target, dict)
    assert isinstance(user, dict)
    return Write(
        user=user["username"],
        verb=str(event["verb"]),
        resource=target.get("resource", ""),
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=status.get("code", 0) if isinstance(status, dict) else 0,
        agent=str(event.get("userAgent", "")),
    )


def find_tool(name: str) -> Path:
    """The binary called `name`. Raises FileNotFoundError saying where it was looked for."""
    if folder := os.environ.get("DEVSERVERS_TOOLS_DIR"):
        candidate = Path(folder) / name
        if candidate.exists():
            return candidate
    from devcluster import toolchain

    found = toolchain.find(name) or shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"no {name}: set DEVSERVERS_TOOLS_DIR, or build the toolchain with `make up`")
    return Path(found)


@contextmanager
def running_api_server() -> Iterator[ApiServer]:
    """Runs etcd and kube-apiserver with RBAC and an audit log; both are gone when the block ends."""
    memory = Path("/dev/shm")
    base = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    _remove_leftovers(base)
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=base) as name:
        directory = Path(name)
        authority = Authority(directory)
        etcd_port, peer_port, api_port = free_ports(3)
        with (
            process("etcd", _etcd_flags(directory, etcd_port, peer_port), directory),
            process("kube-apiserver", _api_server_flags(directory, authority, etcd_port, api_port), directory) as api,
        ):
            server = ApiServer(f"https://127.0.0.1:{api_port}", directory, authority)
            wait_until_ready(server.admin, "/readyz", api, directory / "kube-apiserver.log")
            yield server


@contextmanager
def running_controllers(server: ApiServer) -> Iterator[None]:
    """Runs kube-controller-manager with the controllers that a DevServer's children need.

    These are Deployments to pods, garbage collection by owner reference, namespace deletion, quota counts, endpoint
    slices and PVC protection. Garbage collection learns of a new kind within half a minute only: install the CRDs
    before this. No kubelet and no scheduler: pods stay Pending until a test writes their status.
    """
    (port,) = free_ports(1)
    user = ("system:kube-controller-manager", ("system:masters",))
    names = (
        "deployment-controller,replicaset-controller,statefulset-controller,garbage-collector-controller,"
        "namespace-controller,serviceaccount-controller,resourcequota-controller,endpointslice-controller,"
        "persistentvolumeclaim-protection-controller,validatingadmissionpolicy-status-controller"
    )
    flags = {
        "kubeconfig": server.kubeconfig_for(*user),
        "authentication-kubeconfig": server.kubeconfig_for(*user),
        "authorization-kubeconfig": server.kubeconfig_for(*user),
        "controllers": names,
        "leader-elect": "false",
        "bind-address": "127.0.0.1",
        "secure-port": port,
        "cert-dir": server.directory / "controllers",
        "service-account-private-key-file": server.directory / "service-account.key",
        "kube-api-qps": 200,
        "kube-api-burst": 400,
        "v": 1,
    }
    with process("kube-controller-manager", flags, server.directory) as running:
        log = server.directory / "kube-controller-manager.log"
        deadline = time.monotonic() + START_SECONDS
        # The service account controller makes `default` in every namespace: when it has, the controllers run.
        while server.admin.find("v1", "ServiceAccount", "default", "kube-system") is None:
            _still_starting(running, deadline, log)
        yield


@contextmanager
def process(name: str, flags: Mapping[str, object], directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`name --key=value ...`, output in `<directory>/<name>.log`; terminated or killed after the block."""
    command = [str(find_tool(name)), *(f"--{key}={value}" for key, value in flags.items())]
    with (directory / f"{name}.log").open("ab") as log:
        running = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            cwd=directory, process_group=0, preexec_fn=_die_with_parent,
        )  # fmt: skip
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def wait_until_ready(client: Client, path: str, running: subprocess.Popen[bytes], log: Path) -> None:
    """Until `path` answers with success. Raises RuntimeError with the end of the log if it never will."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            client.text(path)
            return
        except Exception:
            _still_starting(running, deadline, log)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _remove_leftovers(base: Path) -> None:
    """Folders of sessions that were killed: each holds etcd's preallocated logs, in memory."""
    for folder in base.glob(f"{_PREFIX}*-*"):
        if not Path("/proc", folder.name.removeprefix(_PREFIX).split("-")[0]).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _still_starting(running: subprocess.Popen[bytes], deadline: float, log: Path) -> None:
    if running.poll() is not None or time.monotonic() > deadline:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise RuntimeError(f"{log.stem} is not ready:\n{tail}")
    time.sleep(0.05)


def _die_with_parent() -> None:
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _etcd_flags(directory: Path, port: int, peer_port: int) -> dict[str, object]:
    return {
        "data-dir": directory / "etcd",
        "listen-client-urls": f"http://127.0.0.1:{port}",
        "advertise-client-urls": f"http://127.0.0.1:{port}",
        "listen-peer-urls": f"http://127.0.0.1:{peer_port}",
        "initial-advertise-peer-urls": f"http://127.0.0.1:{peer_port}",
        "initial-cluster": f"default=http://127.0.0.1:{peer_port}",
        "log-level": "warn",
    }


def _api_server_flags(directory: Path, authority: Authority, etcd_port: int, port: int) -> dict[str, object]:
    certificate, key = authority.issue("api-server", "kube-apiserver", hosts=("localhost", "127.0.0.1"))
    accounts = service_account_key(directory / "service-account.key")
    policy = directory / "audit-policy.yaml"
    policy.write_text(json.dumps(_AUDIT_POLICY))
    return {
        "etcd-servers": f"http://127.0.0.1:{etcd_port}",
        "bind-address": "127.0.0.1",
        "secure-port": port,
        # Loopback can't be an endpoint of the `kubernetes` Service, and nothing here needs that Service.
        "advertise-address": "192.0.2.1",
        "endpoint-reconciler-type": "none",
        "tls-cert-file": certificate,
        "tls-private-key-file": key,
        "client-ca-file": authority.certificate,
        "authorization-mode": "RBAC",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": accounts,
        "service-account-signing-key-file": accounts,
        "service-cluster-ip-range": "10.0.0.0/16",
        "audit-policy-file": policy,
        "audit-log-path": directory / "audit.log",
        "audit-log-mode": "blocking",
        # Tests make many requests at once on purpose.
        "enable-priority-and-fairness": "false",
        "max-requests-inflight": 2000,
        "max-mutating-requests-inflight": 2000,
        "v": 1,
    }
