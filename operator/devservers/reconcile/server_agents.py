"""What reconciles ask and tell the agents in servers' pods: activity, plans, wishes, the last report."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
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
from devservers.observe.lifetime.idle import Activity, activity_of, of_all
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
        self._answers: dict[tuple[str, str], dict[str, dict[str, WishAnswer]]] = {}
        """By server and the uid of its pod: what was answered to the wishes in its last report."""
        self._replaced: dict[tuple[str, str], tuple[str, str]] = {}
        """By server: the uids of the pods that were told of a restart, and the input hash of those that follow."""

    def runs(self, namespace: str, name: str) -> bool:
        """Whether a pod of a server is asked for."""
        return asks_for_pods(live_workload(self._lister, namespace, name))

    def running(self, namespace: str, name: str, replicas: int | None) -> Sequence[Json]:
        """The running pods of a server: one at most, or those of the replicas of a distributed server, in order."""
        of_server = pods.of_server(self._lister.list("Pod", namespace), name)
        if replicas is not None:
            return [pod for pod in pods.replica_pods(of_server) if pods.started_at(pods.container_status(pod))]
        pod = pods.current_pod(of_server)
        return [pod] if pod is not None and pods.started_at(pods.container_status(pod)) else []

    def activity(self, server: DevServer, running: Sequence[Json]) -> Activity | None:
        """What is known of the activity in a server; None when nobody asks, or nothing runs."""
        if self._agents is None or not running:
            return None
        return _of_server(server, [self._activity(self._agents, server, pod) for pod in running])

    def _activity(self, agents: Agents, server: DevServer, pod: Json) -> Activity:
        if not pods.has_agent(pod):
            return Activity(agent=False)
        started = pods.started_at(pods.container_status(pod)) or self._since
        state = agents.state(*server.key, _uid(pod))
        return activity_of(state, max(self._since, started), self._now())

    def refreshed(self, server: DevServer, running: Sequence[Json]) -> Activity | None:
        """The activity by reports of now, before a stop; no answer counts as activity. Raises ExchangePendingError."""
        asked = [pod for pod in running if pods.has_agent(pod)]
        if self._agents is None or not asked:
            return None
        outcomes = [self._agents.refresh(*server.key, pod) for pod in asked]
        if None in outcomes:
            raise ExchangePendingError
        now = self._now()
        states = [outcome.state for outcome in outcomes if outcome is not None]
        return _of_server(
            server,
            [Activity(checked_at=now + RETRY) if state is None else activity_of(state, now, now) for state in states],
        )

    async def grant(
        self,
        raw: Json,
        server: DevServer,
        user: DevServerUser | None,
        flavor: DevServerFlavor | None,
        decision: Decision,
        running: Sequence[Json],
        *,
        stopping: bool = False,
    ) -> bool:
        """Answers the next wish of a pod; returns whether it changed the server. Raises ApiError on a conflict.

        `stopping` is for a server that is about to stop for a reason that a wish may put off.
        """
        if self._agents is None or not (decision.running or stopping):
            return False
        for pod in running:
            if await self._grant(self._agents, raw, server, user, flavor, decision, pod):
                return True
        return False

    async def _grant(
        self,
        agents: Agents,
        raw: Json,
        server: DevServer,
        user: DevServerUser | None,
        flavor: DevServerFlavor | None,
        decision: Decision,
        pod: Json,
    ) -> bool:
        state = agents.state(*server.key, _uid(pod))
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
            self._answers.setdefault(server.key, {})[_uid(pod)] = answers
        else:
            self._answers.get(server.key, {}).pop(_uid(pod), None)
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
        running: Sequence[Json],
    ) -> None:
        """Keeps what the next exchanges tell the agents of a running server; one that is replaced hears no more."""
        if self._agents is None or not decision.running:
            return
        kept = {_uid(pod) for pod in running}
        if server.key in self._answers:
            self._answers[server.key] = {uid: own for uid, own in self._answers[server.key].items() if uid in kept}
        recorded = pods.input_hash(live_workload(self._lister, *server.key))
        for pod in filter(pods.has_agent, running):
            if recorded is not None and pods.input_hash(pod) not in (None, recorded):
                continue
            answers = tuple(self._answered(server, pod).values())
            plan = agent_plan(server, user, flavor, decision, _grace_seconds(pod), self._now(), answers)
            self._agents.plan(*server.key, _uid(pod), plan)

    def announce_restart(
        self,
        server: DevServer,
        user: DevServerUser,
        flavor: DevServerFlavor | None,
        decision: Decision,
        running: Sequence[Json],
        inputs: str,
    ) -> None:
        """Tells the agents of a server's pods that others with these inputs replace them.

        Once, though the API server may refuse the new workload: then the pods go on. Raises ExchangePendingError.
        """
        replacement = (" ".join(map(_uid, running)), inputs)
        replaced = any(pods.input_hash(pod) != inputs for pod in running)
        if not replaced or self._replaced.get(server.key) == replacement:
            return
        self.finish(server, user, flavor, replace(decision, running=False, stop_reason=RESTARTED), running)
        self._replaced[server.key] = replacement

    def tell_why_it_ends(
        self, server: DevServer, user: DevServerUser | None, flavor: DevServerFlavor | None, decision: Decision
    ) -> None:
        """Tells the agents of pods that somebody else deletes why they end: they wait a moment for that."""
        if self._agents is None or not decision.running:
            return
        namespace, name = server.key
        server_pods = pods.of_server(self._lister.list("Pod", namespace), name)
        if server.replicas is None:
            pod = pod_named(server_pods, server.status.pod_name)
            server_pods = [pod] if pod is not None else []
        workload = live_workload(self._lister, namespace, name)
        for pod in filter(pods.is_terminating, server_pods):
            runs = pods.is_running(pods.container_status(pod))
            reason = reason_of_ending_pod(server, workload, pod) if runs else None
            if reason is not None:
                with contextlib.suppress(ExchangePendingError):
                    self.finish(server, user, flavor, replace(decision, running=False, stop_reason=reason), [pod])

    def _answered(self, server: DevServer, pod: Json) -> dict[str, WishAnswer]:
        """The answers to the wishes of this very pod."""
        return self._answers.get(server.key, {}).get(_uid(pod), {})

    def finish(
        self,
        server: DevServer,
        user: DevServerUser | None,
        flavor: DevServerFlavor | None,
        decision: Decision,
        running: Sequence[Json],
    ) -> Report | None:
        """Tells the agents that their server stops now, and returns the last report. Raises ExchangePendingError.

        Of a distributed server it is the first replica's, with the out-of-memory kills of all.
        """
        asked = [pod for pod in running if pods.has_agent(pod)]
        if self._agents is None or not asked:
            return None
        outcomes = [
            self._agents.final(
                *server.key, pod, agent_plan(server, user, flavor, decision, _grace_seconds(pod), self._now())
            )
            for pod in asked
        ]
        if None in outcomes:
            raise ExchangePendingError
        reports = [outcome.state.report for outcome in outcomes if outcome is not None and outcome.state is not None]
        return replace(reports[0], oom_kills=sum(report.oom_kills for report in reports)) if reports else None

    def forget(self, namespace: str, name: str) -> None:
        """Drops what is kept of a server that is gone."""
        self._answers.pop((namespace, name), None)
        self._granted.pop((namespace, name), None)
        self._replaced.pop((namespace, name), None)


def _of_server(server: DevServer, activities: Sequence[Activity]) -> Activity:
    """The activity of a whole server."""
    return activities[0] if server.replicas is None else of_all(activities, server.replicas)


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
