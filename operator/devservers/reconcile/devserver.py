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
from devservers.api.errors import InvalidObject
from devservers.api.flavor import DevServerFlavor
from devservers.api.user import DevServerUser
from devservers.build.devserver import BuildSettings, ServerRequest, flavor_changed, manifests
from devservers.observe.devserver import Children, Event, invalid, observe, previous_status, serving_pod
from devservers.observe.evidence import Question, newest, question
from devservers.observe.lifecycle import Decision, decide
from devservers.observe.pending import Why
from devservers.observe.refused import child_refused, home_refused
from devservers.reconcile.engine import Applier
from devservers.reconcile.events import post
from devservers.reconcile.hostca import HostCa
from devservers.reconcile.hostkeys import ensure_host_key
from devservers.reconcile.ports import Cluster, Result, View
from devservers.reconcile.queueing import Queueing
from devservers.reconcile.registries import ensure_registry_secret
from devservers.reconcile.sshkeys import UserCa
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
class _Made:
    """What making the children brought to light."""

    host_key: str | None = None
    home_error: str | None = None
    refusal: Why | None = None


class ServerReconciler:
    """Reconciles DevServers, one key at a time each."""

    def __init__(
        self,
        view: View,
        cluster: Cluster,
        applier: Applier,
        ca: UserCa,
        host_ca: HostCa,
        settings: BuildSettings,
        now: Callable[[], datetime] = utcnow,
        queueing: Queueing | None = None,
    ) -> None:
        self._view = view
        self._cluster = cluster
        self._applier = applier
        self._ca = ca
        self._host_ca = host_ca
        self._settings = settings
        self._now = now
        self._queueing = queueing or Queueing()

    async def reconcile(self, namespace: str, name: str) -> Result:
        """One pass. Raises ApiError when the API server refuses or can't be reached."""
        raw = self._view.get("DevServer", namespace, name)
        if raw is None:
            return Result()  # its children go by their owner references, its home stays
        try:
            return await self._pass(raw, namespace, name)
        finally:
            # The pass stops what it can read and write. Where it came to nothing, stopping is still due.
            if self._must_not_run(raw, namespace):
                await self._halt(namespace, name)

    async def _pass(self, raw: Json, namespace: str, name: str) -> Result:
        try:
            server = DevServer.parse(raw)
        except InvalidObject as error:
            return await self._refuse(raw, str(error))
        if namespace_of(server.owner) != namespace:
            return await self._refuse(
                raw,
                f"owner {server.owner!r} has no servers in namespace {namespace}; "
                f"create it in {namespace_of(server.owner) if server.owner else 'the namespace of a user'}",
            )
        raw_user = self._view.get("DevServerUser", "", server.owner)
        try:
            user = DevServerUser.parse(raw_user) if raw_user is not None else None
        except InvalidObject as error:
            log.warning("server left as it is key=%s/%s error=%s", namespace, name, error)
            return Result()  # an unreadable user is no reason to stop their servers
        decision = decide(server, user, self._now())
        if decision.delete and not server.metadata.deletion_timestamp:
            return await self._expire(raw, server)
        if user is None:
            decision = replace(decision, running=False)
        made = _Made()
        if user is not None and user.status.uid is not None and not server.metadata.deletion_timestamp:
            made = await self._make(server, user, decision)
        return await self._tell(raw, server, user, decision, made)

    async def _make(self, server: DevServer, user: DevServerUser, decision: Decision) -> _Made:
        """Makes or mends the children: the home first (the host key is owned by it), the Deployment last."""
        namespace, name = server.key
        home = self._view.get("PersistentVolumeClaim", namespace, home_name(name))
        desired = manifests(
            ServerRequest(
                server=server,
                flavor=self._flavor(server),
                user=user,
                settings=self._settings,
                user_ca_public=await self._ca.public(),
                live_deployment=self._view.get("Deployment", namespace, name),
                live_home=home,
                running=decision.running,
            )
        )
        home_error = None
        for claim in (m for m in desired if m["kind"] == "PersistentVolumeClaim"):
            try:
                home = await self._applier.ensure(claim)
            except ApiError as error:
                why = home_refused(error.status, error.message) if home is None else None
                if why is not None:
                    return _Made(refusal=why)
                if home is None or not error.refused:
                    raise
                home_error = error.message
        middle = [m for m in desired if m["kind"] not in ("PersistentVolumeClaim", "Deployment")]
        host_key, *_ = await asyncio.gather(
            ensure_host_key(self._cluster, self._host_ca, server, user, home, self._now()),
            ensure_registry_secret(self._cluster, user, server.spec.image if decision.running else None),
            *(self._applier.ensure(m) for m in middle),
        )
        refusal = None
        for deployment in (m for m in desired if m["kind"] == "Deployment"):
            try:
                await self._applier.ensure(deployment)
            except ApiError as error:
                refusal = child_refused(error.status, error.message)
                if refusal is None:
                    raise
        return _Made(host_key if isinstance(host_key, str) else None, home_error, refusal)

    def _must_not_run(self, raw: Json, namespace: str) -> bool:
        """Whether a server has to stop whatever else its object says, even if that can't be read.

        Its user is gone or suspended; or it is being deleted, which a finalizer of its owner's could hold up for ever.
        """
        user = self._view.get("DevServerUser", "", user_of(namespace) or "")
        suspended = bool(((user or {}).get("spec") or {}).get("suspended"))
        return user is None or suspended or bool(raw["metadata"].get("deletionTimestamp"))

    async def _halt(self, namespace: str, name: str) -> None:
        """Stops a server; nothing else of it is touched.

        By scaling only: the binding that lets the operator write in the namespace went with the user.
        """
        live = self._view.get("Deployment", namespace, name)
        if live is not None and live["spec"].get("replicas", 1) != 0:
            try:
                await self._cluster.scale("Deployment", namespace, name, 0)
            except ApiError as error:
                if not error.not_found:
                    raise

    async def _tell(
        self, raw: Json, server: DevServer, user: DevServerUser | None, decision: Decision, made: _Made
    ) -> Result:
        """Writes the status if its meaning changed, and the Events that go with that change."""
        namespace, name = server.key
        flavor = self._flavor(server)
        deployment = self._view.get("Deployment", namespace, name)
        now = self._now()
        children = Children(
            user=user,
            flavor=flavor,
            deployment=deployment,
            pods=tuple(
                pod
                for pod in self._view.list("Pod", namespace)
                if (pod["metadata"].get("labels") or {}).get(LABEL_NAME) == name
            ),
            home_claim=self._view.get("PersistentVolumeClaim", namespace, home_name(name)),
            missing_claims=self._missing_claims(server),
            ending_claims=self._ending_claims(server),
            flavor_changed=flavor_changed(deployment, flavor),
            host_key_public=made.host_key,
            home_error=made.home_error,
            refusal=made.refusal,
        )
        asked = question(server, deployment, serving_pod(children), now)
        if isinstance(asked, Question):
            children = replace(
                children, told=await self._told(namespace, asked), volumes=self._volumes(namespace, server)
            )
        queue = self._queueing.state(self._view, server, user, children.pods, serving_pod(children), now)
        observation = observe(server, replace(children, queue=queue), decision, now)
        if observation.status != previous_status(server):
            await self._write_status(raw, observation.status)
            for event in observation.events:
                await post(self._cluster, raw, event, now)
        look = _seconds(observation.next_look)
        if decision.running and asked is not None:
            again = max(asked.again if isinstance(asked, Question) else asked, timedelta(seconds=1)).total_seconds()
            look = again if look is None else min(look, again)
        if made.refusal is not None and made.refusal.reason != "InvalidSpec":
            look = REFUSED_SECONDS if look is None else min(look, REFUSED_SECONDS)
        if user is not None and user.status.uid is None:
            # We write it ourselves, so no event says when it is there.
            look = UID_SECONDS if look is None else min(look, UID_SECONDS)
        return Result(look)

    async def _refuse(self, raw: Json, message: str) -> Result:
        """Shows an object that can't be acted on as Ready=False/InvalidSpec."""
        status = invalid(raw, message, self._now())
        if status != (raw.get("status") or {}):
            await self._write_status(raw, status)
        return Result()

    async def _write_status(self, raw: Json, status: Json) -> None:
        metadata = raw["metadata"]
        self._view.put(
            await self._cluster.apply_status(
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
        await post(
            self._cluster,
            raw,
            Event("Normal", "Expired", "its time is over: deleted; the home is kept"),
            self._now(),
        )
        await self._cluster.delete("DevServer", namespace, name, server.metadata.uid)
        return Result()

    def _flavor(self, server: DevServer) -> DevServerFlavor | None:
        raw = self._view.get("DevServerFlavor", "", server.spec.flavor)
        if raw is None:
            return None
        try:
            return DevServerFlavor.parse(raw)
        except InvalidObject as error:
            log.warning("flavor can't be read name=%s error=%s", server.spec.flavor, error)
            return None

    async def _told(self, namespace: str, asked: Question) -> str | None:
        """What Kubernetes' Events answer. They are an explanation only: a pass goes on without."""
        try:
            return newest(asked, await self._cluster.events(namespace, asked.kind, asked.name))
        except ApiError as error:
            log.warning("events can't be read namespace=%s error=%s", namespace, error)
            return None

    def _volumes(self, namespace: str, server: DevServer) -> dict[str, str]:
        """The claims it mounts, by their PersistentVolume's name."""
        found = {}
        for claim in (home_name(server.name), *referenced_claims(server)):
            live = self._view.get("PersistentVolumeClaim", namespace, claim) or {}
            if volume := (live.get("spec") or {}).get("volumeName"):
                found[volume] = claim
        return found

    def _missing_claims(self, server: DevServer) -> tuple[str, ...]:
        namespace = server.metadata.namespace
        return tuple(
            claim
            for claim in referenced_claims(server)
            if self._view.get("PersistentVolumeClaim", namespace, claim) is None
        )

    def _ending_claims(self, server: DevServer) -> tuple[str, ...]:
        """The claims it mounts that are being deleted, its home first."""
        namespace, name = server.key
        home = [home_name(name)] if server.spec.persistent_home_size is not None else []
        return tuple(
            claim
            for claim in (*home, *referenced_claims(server))
            if ((self._view.get("PersistentVolumeClaim", namespace, claim) or {}).get("metadata") or {}).get(
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
