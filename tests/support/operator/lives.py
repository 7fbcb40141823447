"""A server's life over an API server in memory: pods that come and go, agents that answer, a clock that stands."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Callable
from datetime import datetime
from typing import Any

from devservers.build.devserver import BuildSettings
from devservers.observe.agent import AgentPlan, AgentState, Outcome
from devservers.reconcile.applier import Applier
from devservers.reconcile.devserver import ServerReconciler
from devservers.reconcile.ssh.certificate_authority import HostCa, UserCa
from devservers.reconcile.uids import UidAllocator
from devservers.reconcile.user import UserReconciler
from devservers.runtime.cache import Cache
from devservers_core.errors import ApiError
from devservers_core.protocol.agent.report import Report
from devservers_core.types import Json
from tests.support.operator.api_stand_in import ApiStandIn
from tests.support.operator.observe_objects import T0, at, running_pod, stamp

NAMESPACE, NAME = "dev-ann", "mydev"


class AnsweringAgents:
    """Agents of every pod that answer with one state and one last report, and keep what they were told.

    As with the exchanger, what is asked out of turn is answered when the reconcile comes back.
    """

    def __init__(self, state: AgentState | None = None, last: Report | None = None) -> None:
        self.answer, self.last = state, last
        self.now: AgentState | None = None
        """What is answered out of turn, where that is something else."""
        self.plans: list[AgentPlan] = []
        self.finals: list[AgentPlan] = []
        self.meanwhile: Callable[[], None] = lambda: None
        """What happens while an agent is asked out of turn."""
        self.asked = 0
        """How often one was."""
        self.final_asked: dict[str, bool] = {}
        """By the uid of the pod: whether the last question out of turn, which counts until the next plan, was final."""

    def state(self, namespace: str, name: str, pod_uid: str) -> AgentState | None:
        return self.answer

    def plan(self, namespace: str, name: str, pod_uid: str, plan: AgentPlan) -> None:
        self.plans.append(plan)
        self.final_asked.pop(pod_uid, None)

    def refresh(self, namespace: str, name: str, pod: Json) -> Outcome | None:
        if pod["metadata"]["uid"] in self.final_asked:
            return Outcome(self.answer)
        self._ask(pod, final=False)
        if self.now is not None:
            self.answer = self.now
        return None

    def final(self, namespace: str, name: str, pod: Json, plan: AgentPlan) -> Outcome | None:
        if self.final_asked.get(pod["metadata"]["uid"]):
            return Outcome(AgentState(None, "unknown", T0, self.last) if self.last is not None else None)
        self.finals.append(plan)
        self._ask(pod, final=True)
        return None

    def _ask(self, pod: Json, *, final: bool) -> None:
        self.asked += 1
        self.final_asked[pod["metadata"]["uid"]] = final
        self.meanwhile()


class Dying:
    """A client whose process dies at one call: before the API server carries it out, or after."""

    def __init__(self, api: ApiStandIn, at_call: int | None = None, *, after: bool = False) -> None:
        self._api, self._at, self._after = api, at_call, after
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._api, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            dies = self._at is not None and self.calls >= self._at
            if dies and not (self._after and self.calls == self._at):
                raise ApiError(0, "Unreachable", "the process died")
            result = await method(*args, **kwargs)
            if dies:
                raise ApiError(0, "Unreachable", "the process died")
            return result

        return call


class Life:
    """One server, its user and flavor, and operators that come one after the other."""

    def __init__(self, agents: AnsweringAgents | None = None) -> None:
        self.api = ApiStandIn()
        self.agents = agents
        self.seconds = 0.0
        self.cache = Cache()
        self.client: Any = self.api
        self.operator()

    def copy(self) -> Life:
        """The same cluster once more, with the same keys and uids."""
        life = Life(self.agents)
        life.api.objects, life.api.version = copy.deepcopy(self.api.objects), self.api.version
        life.seconds = self.seconds
        return life

    def operator(self, client: Any = None) -> None:
        """A new operator process, with what the API server has."""
        self.client = client or self.api
        self.cache = Cache()
        if self.agents is not None:
            self.agents.final_asked = {}
        for obj in self.api.objects.values():
            self.cache.put(copy.deepcopy(obj))
        applier = Applier(self.cache, self.client)
        self.servers = ServerReconciler(
            self.cache, self.client, applier, UserCa(self.client, "s"), HostCa(self.client, "s"),
            BuildSettings("a/b:1", "c/d:1"), now=self.now, agents=self.agents,
        )  # fmt: skip
        self.users = UserReconciler(self.cache, self.client, applier, UidAllocator(self.client, "s"), now=self.now)

    def now(self) -> datetime:
        return at(self.seconds)

    def begin(self, **spec: Any) -> None:
        """User, flavors and a server that runs."""
        self._put("DevServerFlavor", "", "small", spec={"resources": {"limits": {"cpu": "1"}}})
        self._put("DevServerFlavor", "", "large", spec={"resources": {"limits": {"cpu": "2"}}})
        self._put("DevServerUser", "", "ann", spec={"username": "ann"})
        asyncio.run(self.users.reconcile("ann"))
        self._put("DevServer", NAMESPACE, NAME, spec={"flavor": "small", **spec})
        self.settle()

    def flavor(self, name: str, **lifecycle: str) -> None:
        """The administrator's change of a flavor's limits and defaults."""
        live = copy.deepcopy(self.api.objects[("DevServerFlavor", "", name)])
        live["spec"]["lifecycle"] = lifecycle
        self.cache.put(self.api.put(live))

    def change(self, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        """The owner's change of the server."""
        live = copy.deepcopy(self.api.objects[("DevServer", NAMESPACE, NAME)])
        live["spec"] |= spec
        live["metadata"].setdefault("annotations", {}).update(annotations or {})
        live["metadata"]["generation"] += 1
        self.cache.put(self.api.put(live))

    def reconcile(self) -> None:
        """Reconciles, again after each question to the agent."""
        asked = -1
        while asked != (asked := self.agents.asked if self.agents is not None else 0):
            asyncio.run(self.servers.reconcile(NAMESPACE, NAME))

    def settle(self) -> None:
        """Reconciles until nothing changes any more; pods follow the Deployment."""
        for _ in range(10):
            before = len(self.api.log)
            self.reconcile()
            moved = self._collect() | self._move_pod()
            if len(self.api.log) == before and not moved:
                return
        raise AssertionError(f"it doesn't settle: {self.api.log[-20:]}")

    def server(self) -> Json:
        return self.api.objects[("DevServer", NAMESPACE, NAME)]

    def state(self) -> dict[str, Json]:
        """All objects without what every write changes and without Events, which are written once for each try."""
        found = {}
        for (kind, namespace, name), obj in self.api.objects.items():
            if kind in ("Event", "Secret"):
                continue
            obj = copy.deepcopy(obj)
            for field in ("resourceVersion", "uid"):
                obj["metadata"].pop(field, None)
            found[f"{kind}/{namespace}/{name}"] = obj
        return found

    def _collect(self) -> bool:
        """What the watch and the garbage collector do after the server was deleted."""
        if ("DevServer", NAMESPACE, NAME) in self.api.objects:
            return False
        cached = self.cache.get("DevServer", NAMESPACE, NAME)
        children = [
            place
            for place, obj in self.api.objects.items()
            if any(owner["kind"] == "DevServer" for owner in obj["metadata"].get("ownerReferences") or ())
        ]
        for obj in ([cached] if cached else []) + [self.api.objects.pop(place) for place in children]:
            self.cache.forget(obj)
        return bool(cached or children)

    def _move_pod(self) -> bool:
        deployment = self.api.objects.get(("Deployment", NAMESPACE, NAME))
        wanted = deployment["spec"].get("replicas", 1) if deployment else 0
        template = (deployment or {}).get("metadata", {}).get("annotations", {}).get("devservers.io/input-hash", "")
        key = ("Pod", NAMESPACE, f"{NAME}-{template}")
        present = [place for place in self.api.objects if place[0] == "Pod"]
        moved = False
        for place in present:
            if not wanted or place != key:
                self.cache.forget(self.api.objects.pop(place))
                moved = True
        if wanted and key not in self.api.objects:
            pod = running_pod(key[2], self.seconds)
            pod |= {"apiVersion": "v1", "kind": "Pod"}
            pod["metadata"] |= {"namespace": NAMESPACE, "labels": {"devservers.io/name": NAME}}
            pod["metadata"]["annotations"] = {"devservers.io/input-hash": template}
            pod["spec"] |= {"terminationGracePeriodSeconds": 120}
            pod["spec"]["containers"][0]["ports"] = [{"name": "agent", "containerPort": 2224}]
            pod["status"]["podIP"] = "10.1.2.3"
            self.cache.put(self.api.put(pod))
            moved = True
        return moved

    def _put(self, kind: str, namespace: str, name: str, **fields: Any) -> None:
        metadata = {"name": name, "generation": 1, "creationTimestamp": stamp(0)}
        metadata |= {"namespace": namespace} if namespace else {}
        self.cache.put(self.api.put({"apiVersion": "devservers.io/v1", "kind": kind, "metadata": metadata, **fields}))


Scenario = Callable[[Life], None]

__all__ = ["NAME", "NAMESPACE", "T0", "AnsweringAgents", "Dying", "Life", "Scenario"]
