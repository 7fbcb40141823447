"""Reconciles one DevServer: its children, its status, its end.

Invariant: level-based. What happens depends on the desired state and on what exists, never on which event came; another
reconcile of a settled server writes nothing. Children are created only in the namespace of the DevServer itself. No
reconcile waits for an agent: before a stop it asks, ends, and comes back when the exchange has ended.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from devservers.api.conditions import find
from devservers.api.devserver import DevServer
from devservers.api.errors import InvalidObjectError
from devservers.api.flavor import DevServerFlavor
from devservers.api.user import DevServerUser
from devservers.build.devserver import BuildSettings, limiting_flavor, recorded_defaults, running_since
from devservers.observe import pods
from devservers.observe.children import Children
from devservers.observe.devserver import Event, invalid_status
from devservers.observe.ends.ended import End, describe_runs
from devservers.observe.ends.interruption import INTERRUPTED
from devservers.observe.lifetime.idle import Activity
from devservers.observe.lifetime.lifecycle import QUIET_REASONS, Decision, decide
from devservers.observe.progress.phase import server_phase
from devservers.observe.times import parse_time
from devservers.reconcile.agent_signing_key import SigningKey
from devservers.reconcile.applier import Applier
from devservers.reconcile.children import ChildrenApplier, ChildrenResult
from devservers.reconcile.ended import EndedRecords
from devservers.reconcile.events import post_event
from devservers.reconcile.interfaces import ASKING_SECONDS, Agents, Client, Lister, Result, utcnow
from devservers.reconcile.queueing import Queueing
from devservers.reconcile.server_agents import ExchangePendingError, ServerAgents
from devservers.reconcile.server_status import StatusWriter
from devservers.reconcile.ssh.certificate_authority import HostCa, UserCa
from devservers.reconcile.workload import live_workload
from devservers_core.names import STOPPED_BY_EXPIRATION, STOPPED_BY_USER, namespace_of, user_of
from devservers_core.protocol.agent.report import Report
from devservers_core.types import Json

log = logging.getLogger("devservers.reconcile")

_PUT_OFF_BY_WISHES = (*QUIET_REASONS, STOPPED_BY_EXPIRATION)
"""Stops before which the agent is asked once more: what its people asked for last may put them off."""


class ServerReconciler:
    """Reconciles DevServers, one key at a time each."""

    def __init__(
        self,
        lister: Lister,
        client: Client,
        applier: Applier,
        ca: UserCa,
        host_ca: HostCa,
        settings: BuildSettings,
        now: Callable[[], datetime] = utcnow,
        queueing: Queueing | None = None,
        agents: Agents | None = None,
        signing_key: SigningKey | None = None,
    ) -> None:
        """Takes `agents` and the key that signs plans for them, None for a process without exchanges."""
        self._lister = lister
        self._client = client
        self._children = ChildrenApplier(lister, client, applier, ca, host_ca, settings, signing_key)
        self._agents = ServerAgents(lister, client, agents, now)
        self._ended = EndedRecords(client)
        self._seen: dict[tuple[str, str], Json] = {}
        """The servers that exist, so that something is known of one whose deletion is seen."""
        self._deletions: dict[tuple[str, str], tuple[Sequence[Json], datetime]] = {}
        """Servers that were deleted while they ran and whose agents are asked: their pods, and when that was seen."""
        self._status = StatusWriter(lister, client, queueing or Queueing(), self._ended)
        self._now = now

    async def reconcile(self, namespace: str, name: str) -> Result:
        """Reconciles once. Raises ApiError when the API server refuses or can't be reached."""
        try:
            return await self._reconcile_present(namespace, name)
        except ExchangePendingError:
            return Result(ASKING_SECONDS)

    async def _reconcile_present(self, namespace: str, name: str) -> Result:
        raw = self._lister.get("DevServer", namespace, name)
        if raw is None or (namespace, name) in self._deletions:
            await self._deleted(namespace, name)
        if raw is None:
            await self._complete_record(namespace, name)
            return Result()  # its children go by their owner references, its home stays
        self._seen[(namespace, name)] = raw
        asks = False
        try:
            result = await self._reconcile(raw, namespace, name)
        except ExchangePendingError:
            asks = True
            raise
        finally:
            # Where a reconcile fails before it stops a server, the server has to stop all the same.
            if not asks and self._must_not_run(raw, namespace):
                await self._children.scale_to_zero(namespace, name)
        await self._complete_record(namespace, name)
        return result

    async def _complete_record(self, namespace: str, name: str) -> None:
        """Adds to the record of the last end what a pod left that has ended since."""
        all_pods = (*self._lister.list("Pod", namespace), *self._lister.former_pods(namespace))
        await self._ended.complete(namespace, name, pods.of_server(all_pods, name))

    async def _reconcile(self, raw: Json, namespace: str, name: str) -> Result:
        try:
            server = DevServer.parse(raw)
        except InvalidObjectError as error:
            return await self._refuse(raw, str(error))
        if namespace_of(server.owner) != namespace:
            return await self._refuse(
                raw,
                f"owner {server.owner!r} has no servers in namespace {namespace}; "
                f"create it in {namespace_of(server.owner) if server.owner else 'the namespace of a user'}",
            )
        raw_user = self._lister.get("DevServerUser", "", server.owner)
        try:
            user = DevServerUser.parse(raw_user) if raw_user is not None else None
        except InvalidObjectError as error:
            log.warning("server left as it is key=%s/%s error=%s", namespace, name, error)
            return Result()  # servers of a user whose object can't be read go on running
        flavor, running = self._flavor(server), self._agents.running(namespace, name, server.replicas)
        activity = self._agents.activity(server, running)
        decision = self._decide(server, user, flavor, activity)
        asked = decision.stop_reason in _PUT_OFF_BY_WISHES and server.status.stop_reason is None
        if asked and self._agents.runs(namespace, name):
            activity = self._agents.refreshed(server, running)
            if decision.stop_reason in QUIET_REASONS:
                decision = self._decide(server, user, flavor, activity)
        else:
            asked = False
        if await self._agents.grant(raw, server, user, flavor, decision, running, stopping=asked):
            raw = self._lister.get("DevServer", namespace, name) or raw
            return await self._reconcile(raw, namespace, name)
        if decision.delete and not server.metadata.deletion_timestamp:
            return await self._expire(raw, server, user, flavor, decision, running)
        if user is None:
            decision = replace(decision, running=False)
        result = ChildrenResult()
        if user is not None and user.status.uid is not None and not server.metadata.deletion_timestamp:
            if decision.stop_reason is not None and self._agents.runs(namespace, name):
                raw, server = await self._before_stop(raw, server, user, flavor, decision, running)
            announce = partial(self._agents.announce_restart, server, user, flavor, decision, running)
            result = await self._children.apply(
                server, flavor, user, self._now(), running=decision.running, before_restart=announce
            )
            decision = self._with_new_start(server, user, flavor, decision)
        self._agents.plan(server, user, flavor, decision, running)
        self._agents.tell_why_it_ends(server, user, flavor, decision)
        return await self._status.update(raw, server, flavor, user, decision, result, self._now())

    def _with_new_start(
        self, server: DevServer, user: DevServerUser, flavor: DevServerFlavor | None, decision: Decision
    ) -> Decision:
        """The decision to show: a start or restart that was just carried out begins the time limits anew."""
        anew = self._decide(server, user, flavor, decision.activity) if decision.running else decision
        return anew if anew.running else decision

    def _decide(
        self,
        server: DevServer,
        user: DevServerUser | None,
        flavor: DevServerFlavor | None,
        activity: Activity | None,
    ) -> Decision:
        workload = live_workload(self._lister, *server.key)
        defaults = recorded_defaults(workload, flavor)
        since = parse_time(running_since(workload))
        limiting = limiting_flavor(server, flavor, defaults)
        return decide(server, user, self._now(), limiting, defaults, activity, since)

    async def _before_stop(
        self,
        raw: Json,
        server: DevServer,
        user: DevServerUser,
        flavor: DevServerFlavor | None,
        decision: Decision,
        running: Sequence[Json],
    ) -> tuple[Json, DevServer]:
        """Sends the agent its last plan and keeps its last lines, before anything stops.

        Nothing but the status records that a quiet server was stopped: it is written before the workload. Raises
        ExchangePendingError.
        """
        namespace, name = server.key
        report = self._agents.finish(server, user, flavor, decision, running)
        if decision.stop_reason in QUIET_REASONS and server.status.stop_reason != decision.stop_reason:
            await self._status.update(raw, server, flavor, user, decision, ChildrenResult(), self._now())
            raw = self._lister.get("DevServer", namespace, name) or raw
            server = DevServer.parse(raw)
        await self._ended.write(server, user, self._end(server, decision, report), self._now())
        return raw, server

    def _end(self, server: DevServer, decision: Decision, report: Report | None) -> End:
        phase = server_phase(server, Children(user=None, flavor=None), decision, self._now())
        return End(
            self._now(),
            decision.stop_reason or "",
            phase.message,
            deleted=decision.delete,
            lines=report.lines if report else (),
            runs=describe_runs(report.runs, self._now()) if report else "",
            oom_kills=report.oom_kills if report else None,
            pod=server.status.pod_name or "",
        )

    async def _deleted(self, namespace: str, name: str) -> None:
        """Keeps a record of a server that was deleted by somebody else than this operator.

        Raises ExchangePendingError.
        """
        key = (namespace, name)
        raw, user = self._seen.get(key), self._lister.get("DevServerUser", "", user_of(namespace) or "")
        if raw is not None and user is not None and not user["metadata"].get("deletionTimestamp"):
            with contextlib.suppress(InvalidObjectError):
                await self._record_deletion(DevServer.parse(raw), DevServerUser.parse(user))
        self._seen.pop(key, None)
        self._deletions.pop(key, None)
        self._agents.forget(*key)

    async def _record_deletion(self, server: DevServer, owner: DevServerUser) -> None:
        # When the reconcile comes back after the exchange, its pod may be gone.
        seen = (self._agents.running(*server.key, server.replicas), self._now())
        running, now = self._deletions.setdefault(server.key, seen)
        end = End(now, STOPPED_BY_USER, "It was deleted by its owner.", deleted=True, pod=server.status.pod_name or "")
        ended_before = server.status.stop_reason is not None or (
            # What ended it was neither its owner nor the operator, and it has not run since.
            server.status.phase != "Running" and find(server.status.conditions, INTERRUPTED) is not None
        )
        if ended_before:
            await self._ended.mark_deleted(server, owner, end, now)
            return
        decision = Decision(running=False, delete=True, stop_reason=STOPPED_BY_USER)
        report = self._agents.finish(server, owner, self._flavor(server), decision, running)
        if report is not None:
            end = replace(end, lines=report.lines, runs=describe_runs(report.runs, now), oom_kills=report.oom_kills)
        await self._ended.write(server, owner, end, now)

    def _must_not_run(self, raw: Json, namespace: str) -> bool:
        """Whether a server has to stop even if its object can't be read.

        Its user is gone or suspended; or it is being deleted, which a finalizer of its owner could delay for ever.
        """
        user = self._lister.get("DevServerUser", "", user_of(namespace) or "")
        suspended = bool(((user or {}).get("spec") or {}).get("suspended"))
        return user is None or suspended or bool(raw["metadata"].get("deletionTimestamp"))

    async def _refuse(self, raw: Json, message: str) -> Result:
        """Shows an object that can't be acted on as Ready=False/InvalidSpec, and stops it when its time is over.

        Its own `running: false` can be read in any case.
        """
        namespace, name = raw["metadata"]["namespace"], raw["metadata"]["name"]
        runs, now = self._agents.runs(namespace, name), self._now()
        status = invalid_status(raw, message, now, runs=runs)
        if status != (raw.get("status") or {}):
            await self._status.write(raw, status)
        if not runs:
            return Result()
        left = (datetime.fromisoformat(status["plannedStop"]["at"]) - now).total_seconds()
        if left > 0 and (raw.get("spec") or {}).get("running") is not False:
            return Result(left)
        await self._children.scale_to_zero(namespace, name)
        return Result()

    async def _expire(
        self,
        raw: Json,
        server: DevServer,
        user: DevServerUser | None,
        flavor: DevServerFlavor | None,
        decision: Decision,
        running: Sequence[Json],
    ) -> Result:
        """Deletes a server whose onExpiry is `delete`; the home stays. Raises ExchangePendingError."""
        namespace, name = server.key
        report = self._agents.finish(server, user, flavor, decision, running)
        log.info("server expired key=%s/%s: deleting", namespace, name)
        await self._ended.write(server, user, self._end(server, decision, report), self._now())
        await post_event(
            self._client,
            raw,
            Event("Normal", "Expired", "The server reached its end time and is deleted. Its home is kept."),
            self._now(),
        )
        await self._client.delete("DevServer", namespace, name, server.metadata.uid)
        self._seen.pop((namespace, name), None)
        self._agents.forget(namespace, name)
        return Result()

    def _flavor(self, server: DevServer) -> DevServerFlavor | None:
        raw = self._lister.get("DevServerFlavor", "", server.spec.flavor)
        if raw is None:
            return None
        try:
            return DevServerFlavor.parse(raw)
        except InvalidObjectError as error:
            log.warning("flavor can't be read name=%s error=%s", server.spec.flavor, error)
            return None
