"""Operators in this process on a real API server, each of which may die between two of its writes.

Invariant: they write as the shipped service account, so admission and RBAC hold. The clock stands, and pods are in the
operators' memory only: there is no kubelet.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from devservers.build.settings import BuildSettings
from devservers.observe.agent import AgentState
from devservers.reconcile.applier import Applier
from devservers.reconcile.devserver import ServerReconciler
from devservers.reconcile.ssh.certificate_authority import HostCa, UserCa
from devservers.reconcile.uids import UidAllocator
from devservers.reconcile.user import UserReconciler
from devservers.runtime.cache import Cache
from devservers.runtime.connection import load_configuration
from devservers.runtime.kube_client import KubeClient
from devservers_core.errors import ApiError
from devservers_core.protocol.agent.report import Report
from devservers_core.types import Json
from tests.support.cluster.harness import ApiServer
from tests.support.cluster.operator_process import API, OPERATOR, SYSTEM, person, server_of
from tests.support.operator.lives import AnsweringAgents
from tests.support.wait import eventually

CHILDREN = ("Deployment", "PersistentVolumeClaim", "Service", "ConfigMap", "ServiceAccount")
_OF_EVERY_WRITE = ("uid", "resourceVersion", "generation", "managedFields", "creationTimestamp", "selfLink")


class Death:
    """Ends a process at one of its writes: before the API server carries it out, or right after."""

    def __init__(self, at_write: int | None = None, *, after: bool = False) -> None:
        self._at, self._after = at_write, after
        self.writes = 0
        self._dead = False

    def before_write(self) -> None:
        self.writes += 1
        if self._dead or (self.writes == self._at and not self._after):
            self._die()

    def after_write(self) -> None:
        if self.writes == self._at:
            self._die()

    def _die(self) -> None:
        self._dead = True
        raise ApiError(0, "Unreachable", "the process died")


class Cluster:
    """One user with servers, and what operators share: a connection and the clock."""

    def __init__(self, server: ApiServer, user: str) -> None:
        self.server, self.admin, self.user = server, server.admin, user
        self.namespace = f"dev-{user}"
        self.begin = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=10)
        self.death = Death()

    async def connect(self) -> None:
        kubeconfig = self.server.kubeconfig_for(*self.server.service_account(SYSTEM, OPERATOR))
        configuration = await load_configuration(environ={"KUBECONFIG": str(kubeconfig)})
        self.kube = KubeClient(
            configuration,
            guard=lambda: self.death.before_write(),
            written=lambda kind, method: self.death.after_write(),
        )

    def remove(self) -> None:
        """Takes the user and all that is theirs away: operators of later tests would look after it."""
        self.admin.delete(API, "DevServerUser", self.user)
        self.admin.delete("v1", "Namespace", self.namespace)
        eventually(lambda: self.admin.find("v1", "Namespace", self.namespace) is None, "the namespace gone", 60)

    async def add_user(self, **spec: Any) -> None:
        """The user, set up by the operator's own reconciler."""
        self.admin.create(person(self.user, **spec))
        for _ in range(3):
            cache = await self.cache()
            users = UserReconciler(cache, self.kube, Applier(cache, self.kube), UidAllocator(self.kube, SYSTEM))
            await users.reconcile(self.user)

    async def cache(self) -> Cache:
        """What a process that starts has in memory."""
        cache = Cache()
        for kind in ("DevServerFlavor", "DevServerUser", "Namespace"):
            for obj in await self.kube.list(kind):
                cache.put(obj)
        with suppress(ApiError):
            for kind in ("DevServer", *CHILDREN):
                for obj in await self.kube.list(kind, self.namespace):
                    cache.put(obj)
        return cache


class KilledLife:
    """One server, and the operators that come one after the other."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name
        self.seconds = 0.0
        report = Report(counter=9, idle_seconds=0, source="cpu", lines=("one", "two"))
        self.agents = AnsweringAgents(AgentState(self.now(), "cpu", self.now(), report), report)
        self.pod: Json | None = None

    def now(self) -> datetime:
        return self.cluster.begin + timedelta(seconds=self.seconds)

    def stamp(self, seconds: float) -> str:
        return (self.cluster.begin + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def quiet(self, seconds: float) -> None:
        """The clock goes on, and the agent goes on answering that nothing happened."""
        self.seconds = seconds
        report = self.agents.answer.report if self.agents.answer else None
        assert report is not None
        self.agents.answer = AgentState(self.cluster.begin, "cpu", self.now(), report)

    async def operator(self, death: Death | None = None) -> None:
        """A new process."""
        self.cluster.death = death or Death()
        self.cache = await self.cluster.cache()
        self.agents.final_asked = {}
        kube = self.cluster.kube
        self.servers = ServerReconciler(
            self.cache, kube, Applier(self.cache, kube), UserCa(kube, SYSTEM), HostCa(kube, SYSTEM),
            BuildSettings("example.com/base:1", "example.com/agent:1"), now=self.now, agents=self.agents,
        )  # fmt: skip
        self._follow()

    async def create(self, **spec: Any) -> None:
        """The server, until it runs and is settled."""
        manifest = server_of(self.cluster.user, self.name, **spec)
        # The time of creation is the API server's; that of the start is the same in each life.
        manifest["metadata"]["annotations"] = {"devservers.io/started-at": self.stamp(0)}
        self.cluster.admin.create(manifest)
        await self.operator()
        await self.settle()
        self.seconds += 10  # stages of a start are written together, after three seconds
        await self.settle()

    async def change(self, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        """The owner's change."""
        patch = {"metadata": {"annotations": annotations or {}}, "spec": spec}
        changed = self.cluster.admin.patch(API, "DevServer", self.name, patch, self.cluster.namespace)
        self.cache.put(changed)

    async def settle(self) -> None:
        """Reconciles until it writes nothing more; the pod follows the Deployment."""
        for _ in range(10):
            before = self.cluster.death.writes, self.agents.asked
            await self.servers.reconcile(self.cluster.namespace, self.name)
            self._see_deletion()
            self._see_deployment()
            if not self._follow() and before == (self.cluster.death.writes, self.agents.asked):
                return
        raise AssertionError(f"{self.name} doesn't settle")

    def _see_deletion(self) -> None:
        """What the watch says of a server that was deleted."""
        cached = self.cache.get("DevServer", self.cluster.namespace, self.name)
        if cached is not None and self._find("DevServer") is None:
            self.cache.forget(cached)

    def _see_deployment(self) -> None:
        """What the watch says of the Deployment, whose status is its controller's."""

        def observed() -> bool:
            stored = self._find("Deployment")
            if stored is not None:
                self.cache.put(stored)
            return (
                stored is None or stored.get("status", {}).get("observedGeneration") == stored["metadata"]["generation"]
            )

        eventually(observed, "the Deployment's controller has seen it")

    def _follow(self) -> bool:
        """Takes the pod that the Deployment asks for into memory; whether that changed anything."""
        deployment = self.cache.get("Deployment", self.cluster.namespace, self.name)
        wanted = deployment is not None and deployment["spec"].get("replicas", 1) != 0
        template = (deployment or {}).get("spec", {}).get("template", {})
        name = f"{self.name}-{(template.get('metadata', {}).get('annotations') or {}).get('devservers.io/input-hash')}"
        if self.pod is not None and (not wanted or self.pod["metadata"]["name"] != name):
            self.cache.forget(self.pod)
            self.pod = None
            return True
        if wanted and self.pod is None:
            self.pod = self._running_pod(name, template)
            self.cache.put(self.pod)
            return True
        if self.pod is not None and self.cache.get("Pod", self.cluster.namespace, name) is None:
            self.cache.put(self.pod)
        return False

    def _running_pod(self, name: str, template: Json) -> Json:
        now = self.stamp(self.seconds)
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": now}
            for kind in ("PodScheduled", "Initialized", "PodReadyToStartContainers", "ContainersReady", "Ready")
        ]
        running = {"running": {"startedAt": now}}
        statuses = [
            {"name": container["name"], "ready": True, "restartCount": 0, "state": running}
            for container in template["spec"]["containers"]
        ]
        status = {"phase": "Running", "podIP": "10.1.2.3", "conditions": conditions, "containerStatuses": statuses}
        metadata = copy.deepcopy(template["metadata"]) | {
            "name": name, "namespace": self.cluster.namespace, "uid": f"uid-{name}", "resourceVersion": "1",
            "creationTimestamp": now,
        }  # fmt: skip
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"], "status": status}

    def state(self) -> dict[str, Any]:
        """What is stored of it, without what every write changes; of a deleted server what outlives it."""
        server = self._find("DevServer")
        kinds = ["DevServer", *CHILDREN] if server is not None else ["PersistentVolumeClaim"]
        found: dict[str, Any] = {kind: self._stored(kind) for kind in kinds}
        found["ended"] = (self._find("ConfigMap", f"{self.name}-ended") or {}).get("data")
        return found

    def _stored(self, kind: str) -> Any:
        obj = self._find(
            kind, {"PersistentVolumeClaim": f"{self.name}-home", "ConfigMap": f"{self.name}-keys"}.get(kind)
        )
        if obj is None:
            return None
        metadata = {key: value for key, value in obj["metadata"].items() if key not in _OF_EVERY_WRITE}
        metadata.pop("ownerReferences", None)
        # The hash of what was applied, which has the server's name in it.
        metadata["annotations"] = {
            key: value
            for key, value in (metadata.get("annotations") or {}).items()
            if key != "devservers.io/applied" and not key.startswith("deployment.kubernetes.io/")
        }
        status = _decided(obj.get("status") or {}) if kind == "DevServer" else {}
        spec = {key: value for key, value in (obj.get("spec") or {}).items() if not key.startswith("clusterIP")}
        return {"metadata": metadata, "spec": spec, "status": status, "data": sorted(obj.get("data") or ())}

    def _find(self, kind: str, name: str | None = None) -> Json | None:
        versions = {"DevServer": API, "Deployment": "apps/v1"}
        return self.cluster.admin.find(versions.get(kind, "v1"), kind, name or self.name, self.cluster.namespace)


def _decided(status: Json) -> Json:
    """What a status says of the server, without when this process saw it.

    Left out: times of stages and conditions, which a later process sees later, and the out-of-memory count of lastStop,
    which a process that never saw the pod has from the record of the end only.
    """
    kept = {key: value for key, value in status.items() if key not in ("sshHostKey", "observedGeneration", "timeline")}
    kept["conditions"] = [
        {key: condition.get(key) for key in ("type", "status", "reason", "message")}
        for condition in status.get("conditions") or ()
    ]
    if "lastStop" in kept:
        kept["lastStop"] = {key: value for key, value in kept["lastStop"].items() if key != "oomKills"}
    return kept


Scenario = Callable[[KilledLife], Awaitable[None]]
