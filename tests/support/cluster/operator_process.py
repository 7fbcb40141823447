"""Runs the operator as a process with the shipped roles, and a fake kubelet.

Invariant: the operator's identity is the shipped ServiceAccount's, bound by infra.platform.rbac and nothing
else, so that a missing permission fails a test and doesn't show up first on somebody's cluster.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from devservers_core.errors import ApiError
from devservers_core.names import BASTION_NAMESPACE
from devservers_core.types import Json
from infra.platform import rbac
from tests.support.cluster.client import Client, repeating
from tests.support.cluster.harness import ApiServer, free_ports
from tests.support.cluster.watched import Watched
from tests.support.wait import eventually

API = "devservers.io/v1"
SYSTEM = "devservers-system"
OPERATOR = "devservers-operator"
MANAGED = "app.kubernetes.io/managed-by=devservers-operator"
REPOSITORY = Path(__file__).resolve().parents[3]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0Sc0vPq7cT5Oq0yGdB8E0Q8a9YVvQn9h1y9rMZ0aaa ann@laptop"


def install_operator(server: ApiServer) -> None:
    """The namespaces, the service account and the roles, as the platform ships them. Idempotent."""
    for manifest in (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BASTION_NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": OPERATOR, "namespace": SYSTEM}},
        *rbac.manifests(SYSTEM),
    ):
        server.admin.apply(manifest)


class OperatorProcess:
    """One running operator."""

    def __init__(self, server: ApiServer, process: subprocess.Popen[bytes], log: Path, metrics_port: int) -> None:
        self.server = server
        self.process = process
        self._log = log
        self._metrics_port = metrics_port

    @property
    def log(self) -> str:
        """Everything it has logged so far."""
        return self._log.read_text(errors="replace")

    def wait_for_log(self, text: str, seconds: float = 30.0) -> None:
        """Until a line contains text; fails with the log's end if the process ends or time is up."""

        def seen() -> bool:
            if text not in self.log:
                self.check_running()
            return text in self.log

        eventually(seen, f"log line {text!r}", seconds, report=lambda: self.log[-3000:])

    def check_running(self) -> None:
        """Fails with the log's end if the process has ended."""
        assert self.process.poll() is None, f"operator ended:\n{self.log[-3000:]}"

    def metric(self, name: str) -> float:
        """The value of an unlabelled metric."""
        for line in self._metrics_text().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise KeyError(name)

    def metrics(self, name: str) -> dict[str, float]:
        """The values of a labelled metric, by what stands between the braces."""
        text = self._metrics_text()
        lines = (line for line in text.splitlines() if line.startswith(f"{name}{{"))
        return {line[len(name) + 1 : line.index("}")]: float(line.rsplit(" ", 1)[1]) for line in lines}

    def _metrics_text(self) -> str:
        import urllib.request

        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def memory_mib(self) -> float:
        """Resident memory in MiB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 30.0) -> int:
        """Sends a signal, waits, and returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(seconds)


@contextmanager
def running_operator(
    server: ApiServer,
    identity: str = "one",
    *,
    leads: bool = True,
    program: str = "devservers.runtime.main",
    **settings: object,
) -> Iterator[OperatorProcess]:
    """Runs the operator with settings (DEVSERVERS_<NAME>, lower case here).

    With `leads`, waits until it has reconciled all objects. `program` is the module to run.
    """
    user, groups = server.service_account(SYSTEM, OPERATOR)
    metrics_port, health_port = free_ports(2)
    values: dict[str, object] = {
        "default_image": "example.com/base:1",
        "agent_image": "example.com/agent:1",
        "namespace": SYSTEM,
        "identity": identity,
        "listen": "127.0.0.1",
        "metrics_port": metrics_port,
        "health_port": health_port,
        "lease_seconds": 15,
    } | settings
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{REPOSITORY / 'core'}:{REPOSITORY / 'operator'}:{REPOSITORY}",
        "KUBECONFIG": str(server.kubeconfig_for(user, groups)),
        **{f"DEVSERVERS_{name.upper()}": str(value) for name, value in values.items()},
    }
    log = server.directory / f"operator-{identity}-{metrics_port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", program], env=environment, stdout=output, stderr=output,
            stdin=subprocess.DEVNULL, cwd=server.directory,
        )  # fmt: skip
    operator = OperatorProcess(server, process, log, metrics_port)
    try:
        if leads:
            operator.wait_for_log("all objects reconciled")
        yield operator
    finally:
        with suppress(subprocess.TimeoutExpired):
            operator.stop()
        if process.poll() is None:
            process.kill()
            process.wait()


@contextmanager
def operator_for(server: ApiServer, *manifests: Json, **settings: object) -> Iterator[OperatorProcess]:
    """The operator, leading, with its roles and with `manifests` applied (the flavor cpu-small unless any are given).

    pytest shows the end of its log when a test fails, and the last test fails when the operator has ended by itself.
    Its lease is longer than shipped, as nobody takes it over here: a busy machine may not let it renew within ten
    seconds, and an operator that could not ends, as it should.
    """
    install_operator(server)
    for each in manifests or (flavor("cpu-small"),):
        server.admin.apply(each)
    with running_operator(server, **({"lease_seconds": 45} | settings)) as operator:  # type: ignore[arg-type]
        yield operator
        print(operator.log[-20000:])
        assert operator.process.poll() is None, "the operator ended by itself"


class FakeKubelet:
    """Brings every managed pod to Ready, step by step, and binds every claim.

    There is no kubelet in this tier. An image with `missing` in its name never arrives, and a pod waits for its claims.
    steps=False makes pods Ready with one write.
    """

    def __init__(
        self,
        client: Client,
        steps: bool = True,
        may_run: Callable[[Json], bool] | None = None,
        address: Callable[[Json], str] | None = None,
    ) -> None:
        """may_run says whether a pod is free to be scheduled; every pod is if left out. address gives pods an IP."""
        self._address = address
        self._client = client
        self._may_run = may_run or (lambda pod: True)
        self._steps = steps
        self._stage: dict[str, int] = {}
        self._pods = Watched(client, "v1", "Pod", labelSelector=MANAGED)
        self._claims = Watched(client, "v1", "PersistentVolumeClaim")
        self._working = repeating(self._work, 0.15 if steps else 0.5, "the kubelet")

    def __enter__(self) -> FakeKubelet:
        for each in (self._pods, self._claims, self._working):
            each.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        for each in (self._pods, self._claims, self._working):
            each.__exit__(*raised)

    def _work(self) -> None:
        claims = self._claims.objects()
        there = {(claim["metadata"]["namespace"], claim["metadata"]["name"]) for claim in claims}
        for pod in self._pods.objects():
            if all((pod["metadata"]["namespace"], name) in there for name in _mounted(pod)):
                self._step(pod)
        for claim in claims:
            self._bind(claim)

    def _step(self, pod: Json) -> None:
        metadata = pod["metadata"]
        last = 3
        stage = self._stage.get(metadata["uid"], 0)
        if stage > last or metadata.get("deletionTimestamp") or not self._may_run(pod):
            return
        stage = stage if self._steps else last
        status = pod_status(pod, stage)
        if self._address is not None:
            status["podIP"] = self._address(pod)
            status["podIPs"] = [{"ip": status["podIP"]}]
        with suppress(ApiError):
            self._client.patch(
                "v1", "Pod", metadata["name"], {"status": status}, metadata["namespace"], subresource="status"
            )
            broken = any("missing" in container["image"] for container in pod["spec"]["containers"])
            self._stage[metadata["uid"]] = 1 if broken and stage == 1 else stage + 1

    def _bind(self, claim: Json) -> None:
        storage = claim["spec"]["resources"]["requests"]["storage"]
        if (claim.get("status") or {}).get("capacity", {}).get("storage") != storage:
            status = {"phase": "Bound", "capacity": {"storage": storage}, "accessModes": ["ReadWriteOnce"]}
            with suppress(ApiError):
                self._client.patch(
                    "v1", "PersistentVolumeClaim", claim["metadata"]["name"], {"status": status},
                    claim["metadata"]["namespace"], subresource="status",
                )  # fmt: skip


def _mounted(pod: Json) -> list[str]:
    """The names of the claims of a pod."""
    volumes = [each.get("persistentVolumeClaim") for each in pod["spec"].get("volumes", [])]
    return [each["claimName"] for each in volumes if each]


def pod_status(pod: Json, stage: int) -> Json:
    """0 scheduled, 1 pulling the image (or failing to), 2 the container runs, 3 ready."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def condition(kind: str, true: bool) -> Json:
        return {"type": kind, "status": "True" if true else "False", "lastTransitionTime": now}

    containers = pod["spec"]["containers"]
    broken = any("missing" in container["image"] for container in containers)
    waiting = {"reason": "ImagePullBackOff", "message": "not found"} if broken else {"reason": "PodInitializing"}
    state: Json = {"running": {"startedAt": now}} if stage >= 2 else {"waiting": waiting}
    done = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}}
    status: Json = {
        "phase": "Running" if stage >= 2 else "Pending",
        "startTime": now,
        "conditions": [
            condition("PodScheduled", True),
            condition("Initialized", stage >= 1),
            condition("ContainersReady", stage >= 3),
            condition("Ready", stage >= 3),
        ],
    }
    if stage >= 1:
        status["containerStatuses"] = [
            {
                "name": container["name"], "image": container["image"], "imageID": "sha256:1" if stage >= 2 else "",
                "ready": stage >= 3, "started": stage >= 3, "restartCount": 0, "state": state,
            }
            for container in containers
        ]  # fmt: skip
        status["initContainerStatuses"] = [
            {
                "name": container["name"], "image": container["image"], "imageID": "sha256:2", "ready": True,
                "started": False, "restartCount": 0, "state": done,
            }
            for container in pod["spec"].get("initContainers", [])
        ]  # fmt: skip
    return status


def flavor(name: str, cpu: str = "1", memory: str = "1Gi") -> Json:
    """A small flavor."""
    resources = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": cpu, "memory": memory}}
    return {
        "apiVersion": API, "kind": "DevServerFlavor", "metadata": {"name": name}, "spec": {"resources": resources},
    }  # fmt: skip


def person(name: str, **spec: object) -> Json:
    """A DevServerUser with one key."""
    return {
        "apiVersion": API, "kind": "DevServerUser", "metadata": {"name": name},
        "spec": {"username": name, "sshPublicKeys": [KEY], **spec},
    }  # fmt: skip


def server_of(user: str, name: str, flavor_name: str = "cpu-small", **spec: object) -> Json:
    """A DevServer in its user's namespace."""
    return {
        "apiVersion": API, "kind": "DevServer", "metadata": {"name": name, "namespace": f"dev-{user}"},
        "spec": {"owner": user, "flavor": flavor_name, **spec},
    }  # fmt: skip


def ready(manifest: Json | None) -> dict[str, Any]:
    """The Ready condition of an object, {} when it has none."""
    for condition in ((manifest or {}).get("status") or {}).get("conditions") or []:
        if condition["type"] == "Ready":
            return dict(condition)
    return {}


def condition_of(manifest: Json, kind: str) -> dict[str, Any]:
    """Any condition of an object, {} when it has none of that type."""
    found = (manifest.get("status") or {}).get("conditions") or []
    return next((dict(condition) for condition in found if condition["type"] == kind), {})


class World:
    """What a test does as the cluster's administrator, in terms of users and servers."""

    def __init__(self, admin: Client) -> None:
        self.admin = admin

    def add_user(self, name: str, **spec: object) -> Json:
        """Creates the user and waits until they are active."""
        self.admin.create(person(name, **spec))

        def user() -> Json:
            return self.admin.get(API, "DevServerUser", name)

        def active() -> Json | None:
            found = user()
            return found if (found.get("status") or {}).get("phase") == "Active" else None

        return eventually(active, f"user {name} active", report=lambda: f"status {user().get('status')}")

    def server(self, user: str, name: str) -> Json:
        """The DevServer as it is now."""
        return self.admin.get(API, "DevServer", name, f"dev-{user}")

    def wait_reason(self, user: str, name: str, reason: str, seconds: float = 30.0) -> Json:
        """The DevServer once Ready has that reason."""
        return self.wait(user, name, lambda server: ready(server).get("reason") == reason, reason, seconds)

    def wait(self, user: str, name: str, check: Callable[[Json], bool], what: str, seconds: float = 30.0) -> Json:
        """The DevServer once check holds; fails showing its status."""
        last: list[Json] = [{}]

        def checked() -> Json | None:
            last[0] = self.server(user, name)
            return last[0] if check(last[0]) else None

        return eventually(checked, f"{name}: {what}", seconds, report=lambda: f"status {last[0].get('status')}")

    def child(self, kind: str, user: str, name: str) -> Json | None:
        """A child in the user's namespace, None when there is none."""
        versions = {
            "Deployment": "apps/v1",
            "StatefulSet": "apps/v1",
            "RoleBinding": "rbac.authorization.k8s.io/v1",
            "NetworkPolicy": "networking.k8s.io/v1",
        }
        return self.admin.find(versions.get(kind, "v1"), kind, name, f"dev-{user}")

    def pods(self, user: str, name: str) -> Sequence[Json]:
        """Pods of one server."""
        return self.admin.list("v1", "Pod", f"dev-{user}", labelSelector=f"devservers.io/name={name}")
