"""Exchanges plans and reports with the agents of all running servers.

Invariant: only the leader exchanges, and no reconcile waits in a worker for it. Before a stop a reconcile asks for an
exchange out of turn and comes back when it has ended; an agent that failed twice in a row isn't asked. A report is kept
by the pod's uid, so one of a former pod is never taken for the present pod's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from devservers.observe import pods
from devservers.observe.agent import STALE, AgentPlan, AgentState, Outcome
from devservers.observe.lifetime.lifecycle import QUIET_REASONS
from devservers.reconcile.agent_signing_key import SigningKey
from devservers.reconcile.interfaces import Key, Lister, utcnow
from devservers.reconcile.mapper import SERVER
from devservers.runtime.agents import agent_pods
from devservers.runtime.agents.agent_pods import address_of, agent_of
from devservers.runtime.agents.exchange_client import MAX_CONNECTIONS, ExchangeClient, ExchangeError
from devservers.runtime.agents.out_of_turn import MAX_REQUESTS, OutOfTurn
from devservers.runtime.agents.schedule import Agent, Schedule
from devservers_core.errors import ApiError
from devservers_core.protocol.agent.report import Report
from devservers_core.types import Json

log = logging.getLogger("devservers.agents")

FAILURES = 2
"""After how many failures in a row no reconcile asks an agent any more, until it answers in its turn."""
MAX_IN_TURN = MAX_CONNECTIONS - MAX_REQUESTS
NEAR = timedelta(minutes=15)
"""How near a planned stop or the idle limit is when exchanges become more frequent."""
LIST_SECONDS = 5.0
"""Between two looks at which pods run, when a pod changed."""
LIST_ANYWAY_SECONDS = 60.0
"""Between two looks when none did: a thousand pods take five milliseconds of processor."""
TICK_SECONDS = 0.5
ANSWER_SECONDS = 10.0
"""Between two exchanges out of turn that bring answers to wishes and nothing else."""


@dataclass(slots=True)
class _Exchanged:
    """What this process knows of one agent."""

    plan: AgentPlan | None = None
    state: AgentState | None = None
    failures: int = 0
    silences: int = 0
    """How often in a row it gave no answer out of turn; those in its turn don't change it."""
    rests_until: datetime | None = None
    """Until when no reconcile asks it, as it was silent too often."""
    counter: int = 0
    wishes: frozenset[str] = frozenset()
    """Ids of the wishes that were handed to a reconcile."""
    answered: float | None = None
    """When answers to wishes alone were sent out of turn last."""
    stale: bool = False
    """Whether a reconcile was told that the last report is old."""


class Exchanger:
    """The agents of all running servers, for reconcilers (reconcile.interfaces.Agents)."""

    def __init__(
        self,
        lister: Lister,
        key: SigningKey,
        client: ExchangeClient,
        add: Callable[[Key], None],
        *,
        now: Callable[[], datetime] = utcnow,
        allowed: Callable[[str], bool] | None = None,
        counted: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        """Takes `add`, which queues a server's key, and `counted`, which gets each exchange's outcome.

        `allowed` says which pod addresses may be asked; by default those that can belong to a pod.
        """
        self._lister, self._key, self._client, self._add = lister, key, client, add
        self._now = now
        self._allowed = allowed or agent_pods.may_be_pod
        self._counted = counted
        self._schedule = Schedule()
        self._agents: dict[Agent, _Exchanged] = {}
        self._addresses: dict[Agent, str] = {}
        self._out_of_turn = OutOfTurn(lambda agent: self._add(_key(agent)))
        self._slots = asyncio.Semaphore(MAX_IN_TURN)
        self._tasks: set[asyncio.Task[None]] = set()

    def state(self, namespace: str, name: str, pod_uid: str) -> AgentState | None:
        """The last good report of that pod; None when this process has had none yet."""
        exchanged = self._agents.get(Agent(namespace, name, pod_uid))
        return exchanged.state if exchanged else None

    def plan(self, namespace: str, name: str, pod_uid: str, plan: AgentPlan) -> None:
        """Keeps what to send to that pod; what people see of it is sent at once when it changed."""
        agent = Agent(namespace, name, pod_uid)
        exchanged = self._agents.setdefault(agent, _Exchanged())
        before, exchanged.plan = exchanged.plan, plan
        request = self._out_of_turn.get(agent)
        kept = request is not None and request.final
        if request is not None and (kept or (request.outcome is not None and request.outcome.state is not None)):
            self._out_of_turn.forget(agent)  # the stop that it was for does not come
        # After a change of leader every plan is new to this process: those wait for their turn.
        if before is None or not (kept or plan.differs_for_people(before)):
            return
        now = time.monotonic()
        if not kept and not replace(plan, answers=before.answers).differs_for_people(before):
            # An agent with ever new wishes isn't asked without a pause.
            if exchanged.answered is not None and now - exchanged.answered < ANSWER_SECONDS:
                return
            exchanged.answered = now
        self._schedule.hurry(agent, now)

    def refresh(self, namespace: str, name: str, pod: Json) -> Outcome | None:
        """What the agent reports now; no answer of one that failed twice, or was never sent a plan."""
        agent = agent_of(pod)
        exchanged = self._agents.get(agent) if agent is not None else None
        if agent is None or exchanged is None or exchanged.plan is None:
            return Outcome(None)
        request = self._out_of_turn.get(agent)
        if request is not None and request.final:
            return request.outcome and Outcome(exchanged.state)
        if request is not None and request.holds():
            return request.outcome
        return self._ask(agent, exchanged, exchanged.plan, pod, final=False)

    def final(self, namespace: str, name: str, pod: Json, plan: AgentPlan) -> Outcome | None:
        """Announces a stop that comes now, once, and returns what the last report says."""
        agent = agent_of(pod)
        if agent is None:
            return Outcome(None)
        request = self._out_of_turn.get(agent)
        if request is not None and request.final:
            return request.outcome
        return self._ask(agent, self._agents.setdefault(agent, _Exchanged()), plan, pod, final=True)

    @property
    def asking(self) -> bool:
        """Whether a reconcile waits for an exchange."""
        return self._out_of_turn.under_way > 0

    def _ask(self, agent: Agent, exchanged: _Exchanged, plan: AgentPlan, pod: Json, *, final: bool) -> Outcome | None:
        address = address_of(pod)

        async def exchange() -> AgentState:
            try:
                state = await self._exchange(agent, exchanged, plan, address, final=final)
            except (asyncio.CancelledError, ExchangeError) as error:
                exchanged.silences += 1
                if exchanged.silences >= FAILURES:
                    exchanged.rests_until = self._now() + STALE
                if isinstance(error, asyncio.CancelledError):
                    self._failed(exchanged)  # too late
                raise
            exchanged.silences = 0
            return state

        # One that answers in its turn alone would take the slots of the others every time.
        rests = exchanged.rests_until is not None and self._now() < exchanged.rests_until
        asks = exchanged.failures < FAILURES and not rests and self._allowed(address)
        return self._out_of_turn.ask(agent, exchange if asks else None, final=final)

    async def run(self) -> None:
        """Exchanges until cancelled."""
        listed, changes = float("-inf"), -1
        try:
            while True:
                now = time.monotonic()
                changed = self._lister.changes("Pod") != changes
                if now - listed >= (LIST_SECONDS if changed else LIST_ANYWAY_SECONDS):
                    changes = self._lister.changes("Pod")
                    self._list(now)
                    listed = now
                for agent in self._schedule.due(now):
                    await self._slots.acquire()
                    task = asyncio.create_task(self._one(agent))
                    self._tasks.add(task)
                    task.add_done_callback(self._finished)
                await asyncio.sleep(TICK_SECONDS)
        finally:
            self._out_of_turn.cancel()
            for task in self._tasks:
                task.cancel()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._slots.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an exchange failed error=%r", error)

    def _list(self, now: float) -> None:
        self._addresses = dict(self._running())
        self._schedule.update(self._addresses.keys(), now)
        self._out_of_turn.drop_old(self._addresses.__contains__)
        # Also those that never were in the schedule: of a pod that ended between two looks, or is ending.
        for agent in [agent for agent in self._agents if agent not in self._addresses]:
            if self._out_of_turn.get(agent) is None:
                del self._agents[agent]

    def _running(self) -> Iterable[tuple[Agent, str]]:
        for pod in self._lister.list("Pod"):
            agent = agent_of(pod)
            if agent is None or pods.is_terminating(pod) or not pods.started_at(pods.container_status(pod)):
                continue
            address = address_of(pod)
            if self._allowed(address):
                yield agent, address

    async def _one(self, agent: Agent) -> None:
        """One exchange in its turn."""
        exchanged = self._agents.setdefault(agent, _Exchanged())
        try:
            request = self._out_of_turn.get(agent)
            if request is not None and request.final:
                return  # nothing follows the last plan until a reconcile keeps the server
            if exchanged.plan is None:
                self._add(_key(agent))  # its reconcile brings the plan
            else:
                await self._exchange(agent, exchanged, exchanged.plan, self._addresses.get(agent, ""))
        except (ExchangeError, ApiError) as error:
            log.debug("no report key=%s/%s error=%s", agent.namespace, agent.name, error)
        finally:
            self._schedule.done(agent, time.monotonic(), short=self._near(exchanged), failures=exchanged.failures)

    async def _exchange(
        self, agent: Agent, exchanged: _Exchanged, plan: AgentPlan, address: str, *, final: bool = False
    ) -> AgentState:
        now = self._now()
        exchanged.counter = max(exchanged.counter + 1, int(now.timestamp() * 1000))
        message = plan.message(agent.pod_uid, f"{agent.namespace}/{agent.name}", exchanged.counter, now, final=final)
        envelope = message.envelope(await self._key.signer())
        try:
            report = await self._client.exchange(address, message, envelope)
        except ExchangeError:
            self._failed(exchanged)
            state = exchanged.state
            if state is not None and not exchanged.stale and now - state.answered_at > STALE:
                exchanged.stale = True
                self._add(_key(agent))
            raise
        exchanged.failures, was_stale, exchanged.stale = 0, exchanged.stale, False
        if was_stale:
            self._add(_key(agent))
        self._counted("answered")
        return self._take(agent, exchanged, report, now)

    def _failed(self, exchanged: _Exchanged) -> None:
        exchanged.failures += 1
        self._counted("failed")

    def _take(self, agent: Agent, exchanged: _Exchanged, report: Report, now: datetime) -> AgentState:
        """Keeps a report, and queues the server's key if it changes what is decided."""
        before = exchanged.state
        last = None if report.idle_seconds is None else now - timedelta(seconds=report.idle_seconds)
        source = report.source
        if before is not None and before.last_activity is not None and last is not None and last < before.last_activity:
            # What was active then can't have been idle since earlier: else each other report would announce a stop.
            last, source = before.last_activity, before.source
        state = exchanged.state = AgentState(last, source, now, report)
        request = self._out_of_turn.get(agent)
        if request is not None and not request.final and request.outcome is not None and request.outcome.state is None:
            self._out_of_turn.forget(agent)  # it answers again
        wishes = frozenset(wish.id for wish in report.wishes)
        if (
            before is None
            or (before.last_activity is None) != (last is None)
            or report.oom_kills > before.report.oom_kills
            or len(report.setup) > len(before.report.setup)
            or not wishes <= exchanged.wishes
            or (_waits_for_quiet(exchanged.plan) and _moved(before, last))
        ):
            self._add(_key(agent))
        exchanged.wishes = wishes
        return state

    def _near(self, exchanged: _Exchanged) -> bool:
        """Whether the planned stop or the idle limit is near."""
        plan, state, now = exchanged.plan, exchanged.state, self._now()
        if plan is None:
            return False
        ends = [plan.stop_at] if plan.stop_at is not None else []
        if plan.idle.timeout_seconds is not None and state is not None and state.last_activity is not None:
            ends.append(state.last_activity + timedelta(seconds=plan.idle.timeout_seconds))
        return any(end - now <= NEAR for end in ends)


def _waits_for_quiet(plan: AgentPlan | None) -> bool:
    """Whether activity takes the planned stop back."""
    return plan is not None and plan.stop_at is not None and plan.stop_reason in QUIET_REASONS


def _moved(before: AgentState, last: datetime | None) -> bool:
    """Whether there was activity since the report before; a second of rounding is none."""
    return before.last_activity is not None and last is not None and last - before.last_activity > timedelta(seconds=5)


def _key(agent: Agent) -> Key:
    return Key(SERVER, agent.namespace, agent.name)
