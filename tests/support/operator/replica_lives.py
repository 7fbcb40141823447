"""One distributed server over time, with the StatefulSet's controller played in memory."""

from __future__ import annotations

import copy
from typing import Any

from devservers_core.types import Json
from tests.support.operator.lives import NAME, NAMESPACE, AnsweringAgents, Life
from tests.support.operator.observe_objects import running_pod

STATEFUL_SET = ("StatefulSet", NAMESPACE, NAME)


class ReplicaLife(Life):
    """Pods follow the StatefulSet: each has its number and keeps its name; a new object makes new pods."""

    def begin(self, replicas: int = 2, **spec: Any) -> None:
        super().begin(mode="distributed", distributed={"replicas": replicas}, **spec)

    def stateful_set(self) -> Json | None:
        return self.api.objects.get(STATEFUL_SET)

    def pod_names(self) -> list[str]:
        return sorted(name for kind, _, name in self.api.objects if kind == "Pod")

    def lose(self, number: int) -> None:
        """A pod is gone at once; the watch says so."""
        self.cache.forget(self.api.objects.pop(("Pod", NAMESPACE, f"{NAME}-{number}")))

    def ready(self) -> Json:
        found: Json = next(each for each in self.server()["status"]["conditions"] if each["type"] == "Ready")
        return found

    def _collect(self) -> bool:
        collected = super()._collect()
        cached = self.cache.get(*STATEFUL_SET)
        if cached is not None and STATEFUL_SET not in self.api.objects:
            self.cache.forget(cached)
            return True
        if cached is not None:
            self.cache.put(copy.deepcopy(self.api.objects[STATEFUL_SET]))  # what scaling changed
        return collected

    def _move_pod(self) -> bool:
        stateful_set = self.stateful_set()
        replicas = stateful_set["spec"]["replicas"] if stateful_set else 0
        hashed = (stateful_set or {}).get("metadata", {}).get("annotations", {}).get("devservers.io/input-hash", "")
        wanted = {f"{NAME}-{number}" for number in range(replicas)}
        moved = False
        for name in self.pod_names():
            if name not in wanted:
                self.cache.forget(self.api.objects.pop(("Pod", NAMESPACE, name)))
                moved = True
        for name in sorted(wanted - set(self.pod_names())):
            pod = running_pod(name, self.seconds) | {"apiVersion": "v1", "kind": "Pod"}
            pod["metadata"] |= {
                "namespace": NAMESPACE,
                "labels": {"devservers.io/name": NAME},
                "annotations": {"devservers.io/input-hash": hashed},
            }
            pod["spec"]["containers"][0]["ports"] = [{"name": "agent", "containerPort": 2224}]
            pod["status"]["podIP"] = "10.1.2.3"
            self.cache.put(self.api.put(pod))
            moved = True
        return moved


class AgentsOfReplicas(AnsweringAgents):
    """Agents that answer for each pod on its own: by the uid, else as all do."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.answers: dict[str, Any] = {}
        self.planned: dict[str, int] = {}
        """By the uid of the pod: how many plans it got."""

    def state(self, namespace: str, name: str, pod_uid: str) -> Any:
        return self.answers.get(pod_uid, self.answer)

    def plan(self, namespace: str, name: str, pod_uid: str, plan: Any) -> None:
        super().plan(namespace, name, pod_uid, plan)
        self.planned[pod_uid] = self.planned.get(pod_uid, 0) + 1
