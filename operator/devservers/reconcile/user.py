"""Reconciles one DevServerUser: their uid, their closed namespace, and what becomes of it when they are
gone.

Invariant: a namespace is only ever touched if it says this operator created it, and it is deleted only when
its user is gone and it holds no volume claim: both asked of the API server itself, not of the cache.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from devservers.api.errors import InvalidObject
from devservers.api.meta import API_VERSION, LABEL_NAMESPACE_CREATED_BY, OPERATOR, namespace_of
from devservers.api.user import DevServerUser
from devservers.build.egress import Egress
from devservers.build.user import manifests
from devservers.observe.user import leftovers, observe
from devservers.reconcile.compare import digest
from devservers.reconcile.devserver import utcnow
from devservers.reconcile.engine import Applier
from devservers.reconcile.events import post
from devservers.reconcile.ports import ApiError, Cluster, Json, Result, View
from devservers.reconcile.queueing import Queueing
from devservers.reconcile.uids import Uids, remembered

log = logging.getLogger("devservers.reconcile")


class UserReconciler:
    """Reconciles DevServerUsers, one key at a time each."""

    def __init__(
        self,
        view: View,
        cluster: Cluster,
        applier: Applier,
        uids: Uids,
        now: Callable[[], datetime] = utcnow,
        queueing: Queueing | None = None,
        egress: Egress | None = None,
    ) -> None:
        self._view = view
        self._cluster = cluster
        self._applier = applier
        self._uids = uids
        self._now = now
        self._queueing = queueing or Queueing()
        self._egress = egress or Egress()

    async def reconcile(self, name: str) -> Result:
        """One pass. Raises ApiError when the API server refuses or can't be reached."""
        raw = self._view.get("DevServerUser", "", name)
        if raw is None:
            return await self._clean_up(name)
        try:
            user = DevServerUser.parse(raw)
        except InvalidObject as error:
            log.warning("user can't be read name=%s error=%s", name, error)
            return Result()
        if user.metadata.deletion_timestamp:
            return Result()
        obstacle = await self._obstacle(user.namespace)
        uid = user.status.uid
        if obstacle is None:
            uid = await self._uids.of(name, user.status.uid, self._kept)
            for manifest in manifests(user, uid, queueing=self._queueing.works, egress=self._egress):
                await self._applier.ensure(manifest)
        status = observe(user, uid, self._now(), obstacle)
        if status != (raw.get("status") or {}):
            self._view.put(
                await self._cluster.apply_status(
                    {
                        "apiVersion": API_VERSION,
                        "kind": "DevServerUser",
                        "metadata": {"name": name, "uid": user.metadata.uid},
                        "status": status,
                    }
                )
            )
        return Result(30.0 if obstacle else None)

    def _kept(self) -> dict[str, int]:
        """The uids that namespaces remember."""
        return remembered(self._view.list("Namespace"))

    async def _obstacle(self, namespace: str) -> str | None:
        """Why the user's namespace can't be used, in plain words, or None."""
        live = self._view.get("Namespace", "", namespace)
        if live is None:
            try:
                live = await self._cluster.get("Namespace", "", namespace)
            except ApiError as error:
                if error.not_found:
                    return None
                raise
        if not _ours(live):
            return (
                f"namespace {namespace} exists and wasn't made by this operator; "
                "rename or delete it, or choose another user name"
            )
        if live["metadata"].get("deletionTimestamp"):
            return f"namespace {namespace} is being deleted; it is made again when it is gone"
        return None

    async def _clean_up(self, name: str) -> Result:
        """The user is gone: their namespace goes too, unless it holds volume claims."""
        live = self._view.get("Namespace", "", namespace_of(name))
        if live is None or not _ours(live) or live["metadata"].get("deletionTimestamp"):
            return Result()
        try:
            self._view.put(await self._cluster.get("DevServerUser", "", name))
            return Result(0.0)  # the cache was behind: they exist
        except ApiError as error:
            if not error.not_found:
                raise
        namespace = live["metadata"]["name"]
        # Claims that are being deleted were given up by their owner: they hold nothing back.
        claims = [
            claim
            for claim in await self._cluster.list("PersistentVolumeClaim", namespace)
            if not claim["metadata"].get("deletionTimestamp")
        ]
        if not claims:
            log.info("user is gone name=%s: deleting namespace %s", name, namespace)
            await self._applier.remove(live)
            return Result()
        names = sorted(claim["metadata"]["name"] for claim in claims)
        log.info("user is gone name=%s: keeping namespace %s claims=%s", name, namespace, ",".join(names))
        await post(
            self._cluster,
            {**live, "apiVersion": "v1", "kind": "Namespace"},
            leftovers(namespace, claims),
            self._now(),
            f"{namespace}.leftovers-{digest(names)}",
        )
        return Result()


def _ours(namespace: Json) -> bool:
    return (namespace["metadata"].get("labels") or {}).get(LABEL_NAMESPACE_CREATED_BY) == OPERATOR
