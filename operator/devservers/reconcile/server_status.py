"""Writes the status of one server, and the Events that go with a change of it."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.user import DevServerUser
from devservers.build.devserver import flavor_changed
from devservers.observe import pods
from devservers.observe.devserver import Children, observe, previous_status, serving_pod
from devservers.observe.lifetime.lifecycle import Decision
from devservers.observe.progress.warning_events import EventQuery, event_query, newest_message
from devservers.observe.volumes import claim_size
from devservers.reconcile.children import ChildrenResult
from devservers.reconcile.claims import claims_being_deleted, claims_by_volume, missing_claims
from devservers.reconcile.ended import EndedRecords
from devservers.reconcile.events import post_event
from devservers.reconcile.interfaces import Client, Lister, Result
from devservers.reconcile.queueing import Queueing
from devservers.reconcile.workload import live_workload
from devservers_core.errors import ApiError
from devservers_core.names import API_VERSION
from devservers_core.replicas import home_names
from devservers_core.types import Json

log = logging.getLogger("devservers.reconcile")

REFUSED_INTERVAL = timedelta(seconds=60)
"""Until the next try after a refusal: no event says that a quota has room again."""
UID_INTERVAL = timedelta(seconds=1)
"""Until the next reconcile of a server whose user has no uid yet."""


class StatusWriter:
    """Observes servers and writes what changed in their status."""

    def __init__(self, lister: Lister, client: Client, queueing: Queueing, ended: EndedRecords) -> None:
        self._lister = lister
        self._ended = ended
        self._client = client
        self._queueing = queueing

    async def update(
        self,
        raw: Json,
        server: DevServer,
        flavor: DevServerFlavor | None,
        user: DevServerUser | None,
        decision: Decision,
        result: ChildrenResult,
        now: datetime,
    ) -> Result:
        """Writes the status if its meaning changed; returns when to reconcile again.

        Raises ApiError, also what failed before: a planned stop is announced though a child fails.
        """
        namespace, name = server.key
        workload = live_workload(self._lister, namespace, name)
        children = Children(
            user=user,
            flavor=flavor,
            replicas=server.replicas,
            workload=workload,
            pods=tuple(pods.of_server(self._lister.list("Pod", namespace), name)),
            former_pods=tuple(pods.of_server(self._lister.former_pods(namespace), name)),
            home_claim=self._home_claim(server),
            missing_claims=missing_claims(self._lister, server),
            claims_being_deleted=claims_being_deleted(self._lister, server),
            flavor_changed=flavor_changed(workload, flavor),
            host_key_public=result.host_key,
            home_error=result.home_error,
            refusal=result.refusal,
        )
        query = event_query(server, workload, serving_pod(children), now)
        if isinstance(query, EventQuery):
            children = replace(
                children,
                event_message=await self._event_message(namespace, query),
                volumes=claims_by_volume(self._lister, server),
            )
        queue = self._queueing.state(self._lister, server, user, children.pods, serving_pod(children), now)
        observation = observe(server, replace(children, queue=queue), decision, now)
        if observation.status != previous_status(server):
            if observation.end is not None:
                await self._ended.write(server, user, observation.end, now)
            await self.write(raw, observation.status)
            for event in observation.events:
                await post_event(self._client, raw, event, now)
        if result.failure is not None:
            raise result.failure
        delays = [observation.requeue_after]
        if decision.running and query is not None:
            interval = query.requeue_after if isinstance(query, EventQuery) else query
            delays.append(max(interval, timedelta(seconds=1)))
        if result.refusal is not None and result.refusal.reason != "InvalidSpec":
            delays.append(REFUSED_INTERVAL)
        if user is not None and user.status.uid is None:
            # The operator writes the user's status itself, so no event says when the uid is there.
            delays.append(UID_INTERVAL)
        return Result(min((max(0.0, delay.total_seconds()) for delay in delays if delay is not None), default=None))

    def _home_claim(self, server: DevServer) -> Json | None:
        """The stored claim of the home; of several homes the smallest, which says how far their growth is."""
        claims = home_names(server.name, server.replicas)
        stored = (self._lister.get("PersistentVolumeClaim", server.metadata.namespace, claim) for claim in claims)
        return min((claim for claim in stored if claim is not None), key=claim_size, default=None)

    async def write(self, raw: Json, status: Json) -> None:
        """Applies a status to that very object. Raises ApiError."""
        metadata = raw["metadata"]
        self._lister.put(
            await self._client.apply_status(
                {
                    "apiVersion": API_VERSION,
                    "kind": "DevServer",
                    # With the uid, a new object of the same name never gets the status of the old one.
                    "metadata": {
                        "name": metadata["name"],
                        "namespace": metadata["namespace"],
                        "uid": metadata["uid"],
                    },
                    "status": status,
                }
            )
        )

    async def _event_message(self, namespace: str, query: EventQuery) -> str | None:
        """What Kubernetes' Events answer. They are an explanation only: a pass goes on without."""
        try:
            return newest_message(query, await self._client.events(namespace, query.kind, query.name))
        except ApiError as error:
            log.warning("events can't be read namespace=%s error=%s", namespace, error)
            return None
