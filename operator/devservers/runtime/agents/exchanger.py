"""Exchanges plans and reports with the agents of all running servers.

Invariant: only the leader exchanges. A reconcile waits for an exchange only right before a stop, for FINAL_SECONDS at
most, and never for an agent that failed twice in a row. A report is kept by the pod's uid, so one of a former pod is
never taken for the present pod's.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from devservers.observe import pods
from devservers.observe.agent import STALE, AgentPlan, AgentState
from devservers.observe.lifetime.lifecycle import QUIET_REASONS
from devservers.reconcile.agent_signing_key import SigningKey
from devservers.reconcile.interfaces import Key, Lister, utcnow
from devservers.reconcile.mapper import SERVER
from devservers.runtime.agents.exchange_client import MAX_CONNECTIONS, ExchangeClient, ExchangeError
from devservers.runtime.agents.schedule import Agent, Schedule
from devservers_core.errors import ApiError
from devservers_core.names import LABEL_NAME, user_of
from devservers_core.protocol.agent.report import Report
from devservers_core.types import Json

log = logging.getLogger("devservers.agents")

FINAL_SECONDS = 3.0
"""The most that an exchange takes that a reconcile waits for."""
FAILURES = 2
"""After how many failures in a row no reconcile waits for an agent any more, until it answers in its turn."""
NEAR = timedelta(minutes=15)
"""How near a planned stop or the idle limit is when exchanges become more frequent."""
LIST_SECONDS = 5.0
"""Between two looks at which pods run."""
TICK_SECONDS = 0.5
ANSWER_SECONDS = 10.0
"""Between two exchanges out of turn that bring answers to wishes and nothing else."""


@dataclass(slots=True)
class _Exchanged:
    """What this process knows of one agent."""

    plan: AgentPlan | None = None
    state: AgentState | None = None
    failures: int = 0
    counter: int = 0
    wishes: frozenset[str] = frozenset()
    """Ids of the wishes that were handed to a reconcile."""
    answered: float | None = None
    """When answers to wishes alone were sent out of turn last."""
    final: bool = False
    """Whether the last plan was sent: nothing follows it until a reconcile keeps the server."""
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
        self._allowed = allowed or may_be_pod
        self._counted = counted
        self._schedule = Schedule()
        self._agents: dict[Agent, _Exchanged] = {}
        self._addresses: dict[Agent, str] = {}
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
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
        kept, exchanged.final = exchanged.final, False
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

    async def refresh(self, namespace: str, name: str, pod: Json) -> AgentState | None:
        """What the agent reports now; None when it did not answer, or no plan was sent to it yet."""
        agent = _agent_of(pod)
        plan = self._agents[agent].plan if agent in self._agents else None
        if plan is None or await self._out_of_turn(pod, plan, final=False) is None:
            return None
        return self.state(namespace, name, agent.pod_uid) if agent else None

    async def final(self, namespace: str, name: str, pod: Json, plan: AgentPlan) -> Report | None:
        """Announces a stop that comes now and returns the last report; None when the agent did not answer."""
        agent = _agent_of(pod)
        if agent is not None:
            self._agents.setdefault(agent, _Exchanged()).final = True
        return await self._out_of_turn(pod, plan, final=True)

    async def _out_of_turn(self, pod: Json, plan: AgentPlan, *, final: bool) -> Report | None:
        agent, address = _agent_of(pod), str(pods.status(pod).get("podIP") or "")
        if agent is None or not self._allowed(address):
            return None
        exchanged = self._agents.setdefault(agent, _Exchanged())
        if exchanged.failures >= FAILURES:
            return None
        try:
            async with asyncio.timeout(FINAL_SECONDS):
                return await self._exchange(agent, exchanged, plan, address, final=final)
        except (ExchangeError, ApiError, TimeoutError) as error:
            log.info("no report out of turn key=%s/%s error=%s", agent.namespace, agent.name, error)
            return None

    async def run(self) -> None:
        """Exchanges until cancelled."""
        listed = 0.0
        try:
            while True:
                now = time.monotonic()
                if now - listed >= LIST_SECONDS:
                    self._list(now)
                    listed = now
                for agent in self._schedule.due(now):
                    await self._slots.acquire()
                    task = asyncio.create_task(self._one(agent))
                    self._tasks.add(task)
                    task.add_done_callback(self._finished)
                await asyncio.sleep(TICK_SECONDS)
        finally:
            for task in self._tasks:
                task.cancel()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._slots.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an exchange failed error=%r", error)

    def _list(self, now: float) -> None:
        self._addresses = dict(self._running())
        for agent in self._schedule.update(self._addresses.keys(), now):
            self._agents.pop(agent, None)

    def _running(self) -> Iterable[tuple[Agent, str]]:
        for pod in self._lister.list("Pod"):
            agent = _agent_of(pod)
            if agent is None or pods.is_terminating(pod) or not pods.started_at(pods.container_status(pod)):
                continue
            address = str(pods.status(pod).get("podIP") or "")
            if self._allowed(address):
                yield agent, address

    async def _one(self, agent: Agent) -> None:
        """One exchange in its turn."""
        exchanged = self._agents.setdefault(agent, _Exchanged())
        try:
            if exchanged.final:
                return
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
    ) -> Report:
        now = self._now()
        exchanged.counter = max(exchanged.counter + 1, int(now.timestamp() * 1000))
        message = plan.message(agent.pod_uid, f"{agent.namespace}/{agent.name}", exchanged.counter, now, final=final)
        envelope = message.envelope(await self._key.signer())
        try:
            report = await self._client.exchange(address, message, envelope)
        except ExchangeError:
            exchanged.failures += 1
            self._counted("failed")
            state = exchanged.state
            if state is not None and not exchanged.stale and now - state.answered_at > STALE:
                exchanged.stale = True
                self._add(_key(agent))
            raise
        exchanged.failures, was_stale, exchanged.stale = 0, exchanged.stale, False
        if was_stale:
            self._add(_key(agent))
        self._counted("answered")
        self._take(agent, exchanged, report, now)
        return report

    def _take(self, agent: Agent, exchanged: _Exchanged, report: Report, now: datetime) -> None:
        """Keeps a report, and queues the server's key if it changes what is decided."""
        before = exchanged.state
        last = None if report.idle_seconds is None else now - timedelta(seconds=report.idle_seconds)
        exchanged.state = AgentState(last, report.source, now, report)
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

    def _near(self, exchanged: _Exchanged) -> bool:
        """Whether the planned stop or the idle limit is near."""
        plan, state, now = exchanged.plan, exchanged.state, self._now()
        if plan is None:
            return False
        ends = [plan.stop_at] if plan.stop_at is not None else []
        if plan.idle.timeout_seconds is not None and state is not None and state.last_activity is not None:
            ends.append(state.last_activity + timedelta(seconds=plan.idle.timeout_seconds))
        return any(end - now <= NEAR for end in ends)


def may_be_pod(address: str) -> bool:
    """Whether an address can be a pod's: never the operator's own machine, a link-local or a multicast one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified)


def _agent_of(pod: Json) -> Agent | None:
    """The agent in a pod, None for a pod that has none: not a server's, or from before there were agents."""
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    name = (metadata.get("labels") or {}).get(LABEL_NAME)
    if not name or user_of(metadata.get("namespace", "")) is None or spec.get("hostNetwork"):
        return None
    return Agent(metadata["namespace"], name, metadata.get("uid", "")) if pods.has_agent(pod) else None


def _waits_for_quiet(plan: AgentPlan | None) -> bool:
    """Whether activity takes the planned stop back."""
    return plan is not None and plan.stop_at is not None and plan.stop_reason in QUIET_REASONS


def _moved(before: AgentState, last: datetime | None) -> bool:
    """Whether there was activity since the report before; a second of rounding is none."""
    return before.last_activity is not None and last is not None and last - before.last_activity > timedelta(seconds=5)


def _key(agent: Agent) -> Key:
    return Key(SERVER, agent.namespace, agent.name)
