"""What reconciles ask and tell the agents in servers' pods: activity, plans, wishes, the last report."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.user import DevServerUser
from devservers.observe import pods
from devservers.observe.agent import RETRY
from devservers.observe.ends.last_output import pod_named
from devservers.observe.ends.last_stop import reason_of_ending_pod
from devservers.observe.lifetime.agent_plan import agent_plan, extend_most, hold_most
from devservers.observe.lifetime.idle import Activity, activity_of
from devservers.observe.lifetime.lifecycle import Decision
from devservers.observe.lifetime.wishes import decide_wish, granted_before, open_wishes
from devservers.reconcile.interfaces import Agents, Client, Lister
from devservers.reconcile.workload import asks_for_pods, live_workload
from devservers_core.errors import ApiError
from devservers_core.names import API_VERSION, RESTARTED
from devservers_core.protocol.agent.plan import WishAnswer
from devservers_core.protocol.agent.report import Report
from devservers_core.types import Json

log = logging.getLogger("devservers.reconcile")

MOST_WISHES, WISHES_PER = 3, timedelta(seconds=30)
"""How many extensions and holds a server's pod is granted in what time: each one is a write."""
GRACE_SECONDS = 30
"""Of a pod that doesn't say its own (Kubernetes' default)."""


class ExchangePendingError(Exception):
    """An agent is asked before a stop: the reconcile ends here, and its key is queued again when that is done."""


class ServerAgents:
    """The agents, for one reconciler."""

    def __init__(self, lister: Lister, client: Client, agents: Agents | None, now: Callable[[], datetime]) -> None:
        """Takes `agents` None for a process that asks none: nothing is known of activity then."""
        self._lister, self._client, self._agents = lister, client, agents
        self._now = now
        self._since = now()
        self._granted: dict[tuple[str, str], list[datetime]] = {}
        self._answers: dict[tuple[str, str], tuple[str, dict[str, WishAnswer]]] = {}
        """By server: the uid of its pod, and what was answered to the wishes in its last report."""
        self._replaced: dict[tuple[str, str], tuple[str, str]] = {}
        """By server: the uid of the pod that was told of a restart, and the input hash of the one that follows."""

    def runs(self, namespace: str, name: str) -> bool:
        """Whether a pod of a server is asked for."""
        return asks_for_pods(live_workload(self._lister, namespace, name))

    def pod(self, namespace: str, name: str) -> Json | None:
        """The running pod of a server, None when none runs."""
        pod = pods.current_pod(pods.of_server(self._lister.list("Pod", namespace), name))
        return pod if pod is not None and pods.started_at(pods.container_status(pod)) else None

    def activity(self, namespace: str, name: str, pod: Json | None) -> Activity | None:
        """What is known of the activity in a pod; None when nobody asks, or nothing runs."""
        if self._agents is None or pod is None:
            return None
        if not pods.has_agent(pod):
            return Activity(agent=False)
        started = pods.started_at(pods.container_status(pod)) or self._since
        state = self._agents.state(namespace, name, _uid(pod))
        return activity_of(state, max(self._since, started), self._now())

    def refreshed(self, namespace: str, name: str, pod: Json | None) -> Activity | None:
        """The activity by a report of now, before a stop; no answer counts as activity. Raises ExchangePendingError."""
        if self._agents is None or pod is None or not pods.has_agent(pod):
            return None
        outcome = self._agents.refresh(namespace, name, pod)
        if outcome is None:
            raise ExchangePendingError
        now = self._now()
        state = outcome.state
        return Activity(checked_at=now + RETRY) if state is None else activity_of(state, now, now)

    async def grant(
        self,
        raw: Json,
        server: DevServer,
        user: DevServerUser | None,
        flavor: DevServerFlavor | None,
        decision: Decision,
        pod: Json | None,
        *,
        stopping: bool = False,
    ) -> bool:
        """Answers the next wish of a pod; returns whether it changed the server. Raises ApiError on a conflict.

        `stopping` is for a server that is about to stop for a reason that a wish may put off.
        """
        if self._agents is None or pod is None or not (decision.running or stopping):
            return False
        state = self._agents.state(*server.key, _uid(pod))
        if state is None:
            return False
        wishes, recorded = state.report.wishes, server.spec.lifecycle.wish
        answers = {
            wish_id: answer
            for wish_id, answer in self._answered(server, pod).items()
            if any(wish.id == wish_id for wish in wishes)
        }
        answers.update({answer.id: answer for answer in granted_before(wishes, tuple(answers), recorded)})
        if wishes:
            self._answers[server.key] = (_uid(pod), answers)
        else:
            self._answers.pop(server.key, None)
        for wish in open_wishes(wishes, tuple(answers), recorded):
            wish_decision = decide_wish(
                wish, server, decision, extend_most(decision), hold_most(server, user, flavor), self._now()
            )
            answers[wish.id] = wish_decision.answer
            if wish_decision.patch is None:
                continue
            if wish.kind != "release" and not self._may_grant(server.key):
                answers[wish.id] = WishAnswer(wish.id, False, "Too many at once: ask again in half a minute.")
                continue
            try:
                self._lister.put(await self._client.patch(_patch(raw, wish_decision.patch)))
            except ApiError as error:
                del answers[wish.id]
                if not error.refused or error.conflict:
                    raise
                answers[wish.id] = WishAnswer(wish.id, False, f"Refused: {error.message}"[:200])
                continue
            log.info("wish granted key=%s/%s kind=%s seconds=%d", *server.key, wish.kind, wish.seconds)
            return True
        return False

    def _may_grant(self, key: tuple[str, str]) -> bool:
        """Whether a server has not had as many wishes granted lately as it may; counts this one.

        A release is not counted: it needs a hold that was granted.
        """
        now = self._now()
        lately = [moment for moment in self._granted.get(key, ()) if now - moment < WISHES_PER]
        if len(lately) >= MOST_WISHES:
            return False
        self._granted[key] = [*lately, now]
        return True

    def plan(
        self,
        server: DevServer,
        user: DevServerUser | None,
        flavor: DevServerFlavor | None,
        decision: Decision,
        pod: Json | None,
    ) -> None:
        """Keeps what the next exchanges tell the agent of a running server; one that is replaced hears no more."""
        if self._agents is None or pod is None or not pods.has_agent(pod) or not decision.running:
            return
        recorded = pods.input_hash(live_workload(self._lister, *server.key))
        if recorded is not None and pods.input_hash(pod) not in (None, recorded):
            return
        answers = tuple(self._answered(server, pod).values())
        plan = agent_plan(server, user, flavor, decision, _grace_seconds(pod), self._now(), answers)
        self._agents.plan(*server.key, _uid(pod), plan)

    def announce_restart(
        self,
        server: DevServer,
        user: DevServerUser,
        flavor: DevServerFlavor | None,
        decision: Decision,
        pod: Json | None,
        inputs: str,
    ) -> None:
        """Tells the agent of a pod that one with these inputs replaces it. Raises ExchangePendingError.

        Once, though the API server may refuse the new workload: then the pod goes on.
        """
        replacement = (_uid(pod), inputs) if pod is not None else None
        if replacement is None or self._replaced.get(server.key) == replacement or pods.input_hash(pod) == inputs:
            return
        self.finish(server, user, flavor, replace(decision, running=False, stop_reason=RESTARTED), pod)
        self._replaced[server.key] = replacement

    def tell_why_it_ends(
        self, server: DevServer, user: DevServerUser | None, flavor: DevServerFlavor | None, decision: Decision
    ) -> None:
        """Tells the agent of a pod that somebody else deletes why it ends: it waits a moment for that."""
        if self._agents is None or not decision.running:
            return
        namespace, name = server.key
        server_pods = pods.of_server(self._lister.list("Pod", namespace), name)
        pod = pod_named(server_pods, server.status.pod_name)
        if pod is None or not pods.is_terminating(pod) or not pods.is_running(pods.container_status(pod)):
            return
        reason = reason_of_ending_pod(server, live_workload(self._lister, namespace, name), pod)
        if reason is not None:
            with contextlib.suppress(ExchangePendingError):
                self.finish(server, user, flavor, replace(decision, running=False, stop_reason=reason), pod)

    def _answered(self, server: DevServer, pod: Json) -> dict[str, WishAnswer]:
        """The answers to the wishes of this very pod."""
        uid, answers = self._answers.get(server.key, ("", {}))
        return answers if uid == _uid(pod) else {}

    def finish(
        self,
        server: DevServer,
        user: DevServerUser | None,
        flavor: DevServerFlavor | None,
        decision: Decision,
        pod: Json | None,
    ) -> Report | None:
        """Tells the agent that its server stops now, and returns its last report. Raises ExchangePendingError."""
        if self._agents is None or pod is None or not pods.has_agent(pod):
            return None
        plan = agent_plan(server, user, flavor, decision, _grace_seconds(pod), self._now())
        outcome = self._agents.final(*server.key, pod, plan)
        if outcome is None:
            raise ExchangePendingError
        return outcome.state.report if outcome.state is not None else None

    def forget(self, namespace: str, name: str) -> None:
        """Drops what is kept of a server that is gone."""
        self._answers.pop((namespace, name), None)
        self._granted.pop((namespace, name), None)
        self._replaced.pop((namespace, name), None)


def _patch(raw: Json, lifecycle: Json) -> Json:
    """A merge patch of spec.lifecycle that holds for this very version of the server only."""
    metadata = raw["metadata"]
    return {
        "apiVersion": API_VERSION,
        "kind": "DevServer",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "spec": {"lifecycle": lifecycle},
    }


def _grace_seconds(pod: Json) -> int:
    return int((pod.get("spec") or {}).get("terminationGracePeriodSeconds") or GRACE_SECONDS)


def _uid(pod: Json) -> str:
    return str(pod["metadata"].get("uid") or "")
