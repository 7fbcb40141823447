"""Reconciles one DevServer: read everything from memory, apply what differs, tell what is true in the
status.

Invariant: level-based. What happens depends on what is wanted and what exists, never on which event came;
running it again on a settled server writes nothing. Children are only ever made in the namespace the
DevServer itself is in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from devservers.api.devserver import DevServer
from devservers.api.errors import InvalidObjectError
from devservers.api.flavor import DevServerFlavor
from devservers.api.user import DevServerUser
from devservers.build.devserver import BuildSettings, ServerRequest, flavor_changed, manifests
from devservers.observe.causes import Cause
from devservers.observe.devserver import Children, Event, invalid_status, observe, previous_status, serving_pod
from devservers.observe.lifecycle import Decision, decide
from devservers.observe.rejections import child_rejection, home_rejection
from devservers.observe.warning_events import EventQuery, event_query, newest_message
from devservers.reconcile.applier import Applier
from devservers.reconcile.certificate_authority import HostCa, UserCa
from devservers.reconcile.events import post_event
from devservers.reconcile.host_keys import ensure_host_key
from devservers.reconcile.interfaces import Client, Lister, Result
from devservers.reconcile.queueing import Queueing
from devservers.reconcile.registries import ensure_registry_secret
from devservers_core.errors import ApiError
from devservers_core.names import API_VERSION, LABEL_NAME, home_name, namespace_of, user_of
from devservers_core.types import Json

log = logging.getLogger("devservers.reconcile")

REFUSED_SECONDS = 60.0
"""Until the next try after a refusal that room in a quota may end, of which no event tells."""
UID_SECONDS = 1.0
"""Until the next look at a server whose user is only just being set up."""


def utcnow() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class _ChildrenResult:
    """What making the children brought to light."""

    host_key: str | None = None
    home_error: str | None = None
    refusal: Cause | None = None


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
    ) -> None:
        self._lister = lister
        self._client = client
        self._applier = applier
        self._ca = ca
        self._host_ca = host_ca
        self._settings = settings
        self._now = now
        self._queueing = queueing or Queueing()

    async def reconcile(self, namespace: str, name: str) -> Result:
        """One pass. Raises ApiError when the API server refuses or can't be reached."""
        raw = self._lister.get("DevServer", namespace, name)
        if raw is None:
            return Result()  # its children go by their owner references, its home stays
        try:
            return await self._reconcile(raw, namespace, name)
        finally:
            # The pass stops what it can read and write. Where it came to nothing, stopping is still due.
            if self._must_not_run(raw, namespace):
                await self._scale_to_zero(namespace, name)

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
            return Result()  # an unreadable user is no reason to stop their servers
        decision = decide(server, user, self._now())
        if decision.delete and not server.metadata.deletion_timestamp:
            return await self._expire(raw, server)
        if user is None:
            decision = replace(decision, running=False)
        result = _ChildrenResult()
        if user is not None and user.status.uid is not None and not server.metadata.deletion_timestamp:
            result = await self._apply_children(server, user, decision)
        return await self._update_status(raw, server, user, decision, result)

    async def _apply_children(self, server: DevServer, user: DevServerUser, decision: Decision) -> _ChildrenResult:
        """Makes or mends the children: the home first (the host key is owned by it), the Deployment last."""
        namespace, name = server.key
        home = self._lister.get("PersistentVolumeClaim", namespace, home_name(name))
        desired = manifests(
            ServerRequest(
                server=server,
                flavor=self._flavor(server),
                user=user,
                settings=self._settings,
                user_ca_public=await self._ca.public(),
                live_deployment=self._lister.get("Deployment", namespace, name),
                live_home=home,
                running=decision.running,
            )
        )
        home_error = None
        for claim in (m for m in desired if m["kind"] == "PersistentVolumeClaim"):
            try:
                home = await self._applier.ensure(claim)
            except ApiError as error:
                cause = home_rejection(error.status, error.message) if home is None else None
                if cause is not None:
                    return _ChildrenResult(refusal=cause)
                if home is None or not error.refused:
                    raise
                home_error = error.message
        others = [m for m in desired if m["kind"] not in ("PersistentVolumeClaim", "Deployment")]
        host_key, *_ = await asyncio.gather(
            ensure_host_key(self._client, self._host_ca, server, user, home, self._now()),
            ensure_registry_secret(self._client, user, server.spec.image if decision.running else None),
            *(self._applier.ensure(m) for m in others),
        )
        refusal = None
        for deployment in (m for m in desired if m["kind"] == "Deployment"):
            try:
                await self._applier.ensure(deployment)
            except ApiError as error:
                refusal = child_rejection(error.status, error.message)
                if refusal is None:
                    raise
        return _ChildrenResult(host_key if isinstance(host_key, str) else None, home_error, refusal)

    def _must_not_run(self, raw: Json, namespace: str) -> bool:
        """Whether a server has to stop whatever else its object says, even if that can't be read.

        Its user is gone or suspended; or it is being deleted, which a finalizer of its owner's could hold up for ever.
        """
        user = self._lister.get("DevServerUser", "", user_of(namespace) or "")
        suspended = bool(((user or {}).get("spec") or {}).get("suspended"))
        return user is None or suspended or bool(raw["metadata"].get("deletionTimestamp"))

    async def _scale_to_zero(self, namespace: str, name: str) -> None:
        """Stops a server; nothing else of it is touched.

        By scaling only: the binding that lets the operator write in the namespace went with the user.
        """
        live = self._lister.get("Deployment", namespace, name)
        if live is not None and live["spec"].get("replicas", 1) != 0:
            try:
                await self._client.scale("Deployment", namespace, name, 0)
            except ApiError as error:
                if not error.not_found:
                    raise

    async def _update_status(
        self, raw: Json, server: DevServer, user: DevServerUser | None, decision: Decision, result: _ChildrenResult
    ) -> Result:
        """Writes the status if its meaning changed, and the Events that go with that change."""
        namespace, name = server.key
        flavor = self._flavor(server)
        deployment = self._lister.get("Deployment", namespace, name)
        now = self._now()
        children = Children(
            user=user,
            flavor=flavor,
            deployment=deployment,
            pods=tuple(
                pod
                for pod in self._lister.list("Pod", namespace)
                if (pod["metadata"].get("labels") or {}).get(LABEL_NAME) == name
            ),
            home_claim=self._lister.get("PersistentVolumeClaim", namespace, home_name(name)),
            missing_claims=self._missing_claims(server),
            claims_being_deleted=self._claims_being_deleted(server),
            flavor_changed=flavor_changed(deployment, flavor),
            host_key_public=result.host_key,
            home_error=result.home_error,
            refusal=result.refusal,
        )
        query = event_query(server, deployment, serving_pod(children), now)
        if isinstance(query, EventQuery):
            children = replace(
                children,
                event_message=await self._event_message(namespace, query),
                volumes=self._volumes(namespace, server),
            )
        queue = self._queueing.state(self._lister, server, user, children.pods, serving_pod(children), now)
        observation = observe(server, replace(children, queue=queue), decision, now)
        if observation.status != previous_status(server):
            await self._write_status(raw, observation.status)
            for event in observation.events:
                await post_event(self._client, raw, event, now)
        requeue_after = _seconds(observation.requeue_after)
        if decision.running and query is not None:
            interval = max(
                query.requeue_after if isinstance(query, EventQuery) else query, timedelta(seconds=1)
            ).total_seconds()
            requeue_after = interval if requeue_after is None else min(requeue_after, interval)
        if result.refusal is not None and result.refusal.reason != "InvalidSpec":
            requeue_after = REFUSED_SECONDS if requeue_after is None else min(requeue_after, REFUSED_SECONDS)
        if user is not None and user.status.uid is None:
            # We write it ourselves, so no event says when it is there.
            requeue_after = UID_SECONDS if requeue_after is None else min(requeue_after, UID_SECONDS)
        return Result(requeue_after)

    async def _refuse(self, raw: Json, message: str) -> Result:
        """Shows an object that can't be acted on as Ready=False/InvalidSpec."""
        status = invalid_status(raw, message, self._now())
        if status != (raw.get("status") or {}):
            await self._write_status(raw, status)
        return Result()

    async def _write_status(self, raw: Json, status: Json) -> None:
        metadata = raw["metadata"]
        self._lister.put(
            await self._client.apply_status(
                {
                    "apiVersion": API_VERSION,
                    "kind": "DevServer",
                    # With the uid an object made anew under this name is never told the old one's status.
                    "metadata": {
                        "name": metadata["name"],
                        "namespace": metadata["namespace"],
                        "uid": metadata["uid"],
                    },
                    "status": status,
                }
            )
        )

    async def _expire(self, raw: Json, server: DevServer) -> Result:
        """onExpiry: delete. The home stays."""
        namespace, name = server.key
        log.info("server expired key=%s/%s: deleting", namespace, name)
        await post_event(
            self._client,
            raw,
            Event("Normal", "Expired", "its time is over: deleted; the home is kept"),
            self._now(),
        )
        await self._client.delete("DevServer", namespace, name, server.metadata.uid)
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

    async def _event_message(self, namespace: str, query: EventQuery) -> str | None:
        """What Kubernetes' Events answer. They are an explanation only: a pass goes on without."""
        try:
            return newest_message(query, await self._client.events(namespace, query.kind, query.name))
        except ApiError as error:
            log.warning("events can't be read namespace=%s error=%s", namespace, error)
            return None

    def _volumes(self, namespace: str, server: DevServer) -> dict[str, str]:
        """The claims it mounts, by their PersistentVolume's name."""
        claims = {}
        for claim in (home_name(server.name), *referenced_claims(server)):
            live = self._lister.get("PersistentVolumeClaim", namespace, claim) or {}
            if volume := (live.get("spec") or {}).get("volumeName"):
                claims[volume] = claim
        return claims

    def _missing_claims(self, server: DevServer) -> tuple[str, ...]:
        namespace = server.metadata.namespace
        return tuple(
            claim
            for claim in referenced_claims(server)
            if self._lister.get("PersistentVolumeClaim", namespace, claim) is None
        )

    def _claims_being_deleted(self, server: DevServer) -> tuple[str, ...]:
        """The claims it mounts that are being deleted, its home first."""
        namespace, name = server.key
        home = [home_name(name)] if server.spec.persistent_home_size is not None else []
        return tuple(
            claim
            for claim in (*home, *referenced_claims(server))
            if ((self._lister.get("PersistentVolumeClaim", namespace, claim) or {}).get("metadata") or {}).get(
                "deletionTimestamp"
            )
        )


def referenced_claims(server: DevServer) -> list[str]:
    """Names of the claims a server mounts besides its own home, without repeats."""
    claims = [volume.claim_name for volume in server.spec.volumes]
    if server.spec.shared_volume_claim_name:
        claims.append(server.spec.shared_volume_claim_name)
    return list(dict.fromkeys(claims))


def _seconds(delay: timedelta | None) -> float | None:
    return None if delay is None else max(0.0, delay.total_seconds())
