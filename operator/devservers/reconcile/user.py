"""Reconciles one DevServerUser: uid, closed namespace, and the final clean-up.

Invariant: the operator touches a namespace only if its label says that this operator created it, and deletes it only
when its user is gone and it holds no volume claim: both asked of the API server itself, not of the cache. Servers never
outlive their user: a later user of the same name gets the homes, and none of the servers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime

from devservers.api.errors import InvalidObjectError
from devservers.api.user import DevServerUser
from devservers.build.egress import Egress
from devservers.build.secret_index import config_map, foreign_entries
from devservers.build.user import NO_LIMITS, Limits, manifests
from devservers.observe.pods import created_at
from devservers.observe.user import namespace_kept_event, observe
from devservers.reconcile.applier import Applier
from devservers.reconcile.compare import digest
from devservers.reconcile.ended import EndedRecords
from devservers.reconcile.events import post_event
from devservers.reconcile.interfaces import (
    Client,
    Lister,
    NoSecretEntries,
    Result,
    SecretEntries,
    get_or_none,
    utcnow,
)
from devservers.reconcile.queueing import Queueing
from devservers.reconcile.registry_logins import PlatformLogins
from devservers.reconcile.uids import UidAllocator, recorded_uids
from devservers_core.errors import ApiError
from devservers_core.names import (
    ANNOTATION_USER_OBJECT,
    ANY_FLAVOR,
    API_VERSION,
    LABEL_NAMESPACE_CREATED_BY,
    OPERATOR,
    USER_SECRETS,
    namespace_of,
)
from devservers_core.types import Json

log = logging.getLogger("devservers.reconcile")

FORMER_SECONDS = 0.5
"""Until the next look whether the servers of a former user of the same name are gone."""


class UserReconciler:
    """Reconciles DevServerUsers, one key at a time each."""

    def __init__(
        self,
        lister: Lister,
        client: Client,
        applier: Applier,
        uids: UidAllocator,
        now: Callable[[], datetime] = utcnow,
        queueing: Queueing | None = None,
        egress: Egress | None = None,
        platform_logins: PlatformLogins | None = None,
        limits: Limits = NO_LIMITS,
        secret_entries: SecretEntries | None = None,
    ) -> None:
        self._lister = lister
        self._client = client
        self._applier = applier
        self._uids = uids
        self._limits = limits
        self._secret_entries = secret_entries or NoSecretEntries()
        self._ended = EndedRecords(client)
        self._now = now
        self._queueing = queueing or Queueing()
        self._egress = egress or Egress()
        self._platform_logins = platform_logins or PlatformLogins(client)

    async def reconcile(self, name: str) -> Result:
        """Reconciles once. Raises ApiError when the API server refuses or can't be reached."""
        raw = self._lister.get("DevServerUser", "", name)
        if raw is None:
            return await self._clean_up(name)
        try:
            user = DevServerUser.parse(raw)
        except InvalidObjectError as error:
            log.warning("user can't be read name=%s error=%s", name, error)
            return Result()
        if user.metadata.deletion_timestamp:
            return Result()
        live = await self._namespace(user.namespace)
        obstacle = _obstacle(user.namespace, live)
        uid = user.status.uid
        if obstacle is None:
            if live is not None and await self._end_former_servers(user, live):
                return Result(FORMER_SECONDS)
            uid = await self._uids.allocate(name, user.status.uid, self._kept)
            desired = manifests(user, uid, queueing=self._queueing.available, egress=self._egress, limits=self._limits)
            for manifest in desired:
                await self._applier.ensure(manifest)
            await self._write_index(user)
        status = observe(user, uid, self._now(), obstacle, self._unknown_flavors(user))
        if status != (raw.get("status") or {}):
            self._lister.put(
                await self._client.apply_status(
                    {
                        "apiVersion": API_VERSION,
                        "kind": "DevServerUser",
                        "metadata": {"name": name, "uid": user.metadata.uid},
                        "status": status,
                    }
                )
            )
        if obstacle is None:
            await self._platform_logins.copy_to(user)
            await self._ended.prune(user.namespace, self._now())
        return Result(30.0 if obstacle else None)

    async def _write_index(self, user: DevServerUser) -> None:
        """Brings the index of the user's secrets up to date; an unknown one is left as it is."""
        entries = self._secret_entries.of(user.namespace)
        if entries is None and self._lister.get("ConfigMap", user.namespace, USER_SECRETS) is not None:
            return
        entries = entries or {}
        live = await self._applier.ensure(config_map(user, entries))
        if foreign := foreign_entries(live, entries):
            identity = {field: live["metadata"][field] for field in ("name", "namespace", "uid", "resourceVersion")}
            data = dict.fromkeys(foreign)
            change = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": identity, "data": data}
            self._lister.put(await self._client.patch(change))

    def _unknown_flavors(self, user: DevServerUser) -> list[str]:
        """The flavors in the user's spec that don't exist."""
        named = [name for name in user.spec.flavors if name != ANY_FLAVOR]
        return sorted(name for name in named if self._lister.get("DevServerFlavor", "", name) is None)

    def _kept(self) -> dict[str, int]:
        """The uids that namespaces record."""
        return recorded_uids(self._lister.list("Namespace"))

    async def _namespace(self, name: str) -> Json | None:
        """The namespace of that name, of any creator; None when there is none."""
        return self._lister.get("Namespace", "", name) or await get_or_none(self._client, "Namespace", "", name)

    async def _end_former_servers(self, user: DevServerUser, namespace: Json) -> bool:
        """Deletes the servers of a former user of the same name; returns whether there were any.

        This covers what happened while no operator ran; otherwise the clean-up came first. A namespace without the
        annotation is one of an earlier version, whose user is taken for the one it was created for.
        """
        recorded = (namespace["metadata"].get("annotations") or {}).get(ANNOTATION_USER_OBJECT)
        since = user.metadata.creation_timestamp
        if not recorded or recorded == user.metadata.uid or since is None:
            return False
        servers = await self._client.list("DevServer", user.namespace)
        uids = {server["metadata"]["uid"] for server in servers}
        for server in self._lister.list("DevServer", user.namespace):
            # A deletion between the first list and the start of the watch has no event.
            if server["metadata"]["uid"] not in uids and _is_older(server, since):
                self._lister.forget(server)
        former = [
            server for server in servers if not server["metadata"].get("deletionTimestamp") and _is_older(server, since)
        ]
        await self._delete_servers(user.name, former)
        return bool(former)

    async def _delete_servers(self, user: str, servers: Iterable[Json]) -> None:
        """Deletes servers whose user is gone; their children go with them, their homes stay."""
        for server in servers:
            log.info("user is gone name=%s: deleting server %s", user, server["metadata"]["name"])
            await self._applier.remove(server)

    async def _clean_up(self, name: str) -> Result:
        """Deletes a gone user's servers, and their namespace unless it holds volume claims."""
        live = self._lister.get("Namespace", "", namespace_of(name))
        if live is None or not _created_by_operator(live) or live["metadata"].get("deletionTimestamp"):
            return Result()
        try:
            self._lister.put(await self._client.get("DevServerUser", "", name))
            return Result(0.0)  # the cache was behind: the user exists
        except ApiError as error:
            if not error.not_found:
                raise
        namespace = live["metadata"]["name"]
        # Claims that are being deleted don't keep the namespace: their owner gave them up.
        claims = [
            claim
            for claim in await self._client.list("PersistentVolumeClaim", namespace)
            if not claim["metadata"].get("deletionTimestamp")
        ]
        if not claims:
            log.info("user is gone name=%s: deleting namespace %s", name, namespace)
            await self._applier.remove(live)
            return Result()
        servers = await self._client.list("DevServer", namespace)
        await self._delete_servers(
            name, (server for server in servers if not server["metadata"].get("deletionTimestamp"))
        )
        names = sorted(claim["metadata"]["name"] for claim in claims)
        log.info("user is gone name=%s: keeping namespace %s claims=%s", name, namespace, ",".join(names))
        await post_event(
            self._client,
            {**live, "apiVersion": "v1", "kind": "Namespace"},
            namespace_kept_event(namespace, claims),
            self._now(),
            f"{namespace}.leftovers-{digest(names)}",
        )
        return Result()


def _obstacle(namespace: str, live: Json | None) -> str | None:
    """Why the user's namespace can't be used, as one sentence, or None."""
    if live is None:
        return None
    if not _created_by_operator(live):
        return (
            f"namespace {namespace} exists and wasn't made by this operator; "
            "rename or delete it, or choose another user name"
        )
    if live["metadata"].get("deletionTimestamp"):
        return f"namespace {namespace} is being deleted; it is made again when it is gone"
    return None


def _is_older(server: Json, moment: datetime) -> bool:
    created = created_at(server)
    return created is not None and created < moment


def _created_by_operator(namespace: Json) -> bool:
    return (namespace["metadata"].get("labels") or {}).get(LABEL_NAMESPACE_CREATED_BY) == OPERATOR
