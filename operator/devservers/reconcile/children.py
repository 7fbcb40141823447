"""Applies the children of one server: home, keys, Service, Secrets, workload.

Invariant: a stop depends on no other child. A server that isn't to run has no pod, whatever else fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.user import DevServerUser
from devservers.build.devserver import (
    STATEFUL_SET,
    WORKLOAD_KINDS,
    BuildSettings,
    ServerRequest,
    input_hash,
    kept_record,
    live_replicas,
    manifests,
    stored_record,
)
from devservers.build.distributed.layout import Layout, LayoutError
from devservers.observe import pods
from devservers.observe.causes import Cause
from devservers.observe.lifetime.starts import requested_start
from devservers.observe.rejections import child_rejection, home_rejection
from devservers.observe.times import format_time
from devservers.reconcile.agent_signing_key import SigningKey
from devservers.reconcile.applier import Applier
from devservers.reconcile.interfaces import Client, Lister
from devservers.reconcile.registry_logins import ensure_registry_secret
from devservers.reconcile.ssh.certificate_authority import HostCa, UserCa
from devservers.reconcile.ssh.host_keys import ensure_host_key
from devservers.reconcile.ssh.replica_keys import ensure_replica_key
from devservers.reconcile.user_setup import setup_secrets
from devservers.reconcile.workload import asks_for_pods, has_ended, live_workload, scale_to_zero
from devservers_core.errors import ApiError
from devservers_core.replicas import belongs_to, home_names, replicas_service
from devservers_core.types import Json


@dataclass(frozen=True)
class ChildrenResult:
    """What applying the children showed."""

    host_key: str | None = None
    """The public host key, None while there is none."""
    home_error: str | None = None
    """The API server's refusal of the home's growth, None when there was none."""
    refusal: Cause | None = None
    """Why the API server refuses a child, None when it took them all."""
    deployed: bool = False
    """Whether the workload is as it is to be."""
    failure: ApiError | None = None
    """What the reconcile fails with, once the status is written; None unless a child failed otherwise."""


class ChildrenApplier:
    """Applies the children of servers."""

    def __init__(
        self,
        lister: Lister,
        client: Client,
        applier: Applier,
        ca: UserCa,
        host_ca: HostCa,
        settings: BuildSettings,
        signing_key: SigningKey | None = None,
    ) -> None:
        self._lister = lister
        self._client = client
        self._applier = applier
        self._ca = ca
        self._host_ca = host_ca
        self._settings = settings
        self._signing_key = signing_key

    async def apply(
        self,
        server: DevServer,
        flavor: DevServerFlavor | None,
        user: DevServerUser,
        now: datetime,
        *,
        running: bool,
        before_restart: Callable[[str], None],
    ) -> ChildrenResult:
        """Creates or corrects the children. Raises ApiError when it can't stop a server.

        A server that isn't to run is stopped also if one of its children is refused or fails. `before_restart` is
        called with the new input hash before a workload is written whose pod replaces one; what it raises is raised.
        """
        stopped = False
        try:
            result = await self._apply(server, flavor, user, now, running=running, before_restart=before_restart)
            stopped = result.deployed
        except ApiError as error:
            result = ChildrenResult(failure=error)
        finally:
            # The reconciler stops the servers of a suspended user itself, whatever fails.
            if not running and not stopped and not user.spec.suspended:
                await self.scale_to_zero(*server.key)
        return result

    async def _end_former(self, live: Json) -> None:
        """Ends the former workload of a distributed server, step by step: no pod, no Workload, then no object."""
        metadata = live["metadata"]
        if asks_for_pods(live):
            await self.scale_to_zero(metadata["namespace"], metadata["name"])
        elif live["kind"] == STATEFUL_SET and has_ended(self._lister, live):
            await self._applier.remove(live)

    def _name_taken(self, server: DevServer) -> Cause | None:
        """Why the Service of the replicas can't have its name, None when it can."""
        service = replicas_service(server.name)
        if self._lister.get("DevServer", server.metadata.namespace, service) is None:
            return None
        return Cause(
            "InvalidSpec", f"The server {service} has the name of its Service. Delete it, or use another name."
        )

    async def scale_to_zero(self, namespace: str, name: str) -> None:
        """Stops a server by the scale subresource and changes nothing else. Raises ApiError.

        The operator has this right in every namespace, and to write in one only as long as its user exists.
        """
        await scale_to_zero(self._lister, self._client, namespace, name)

    def _awaits_former_pod(self, namespace: str, name: str, inputs: str, live: Json | None) -> bool:
        """Whether a pod with these inputs has not begun to end, though the workload asks for none like it."""
        if pods.input_hash(live) is None or (live_replicas(live) and pods.input_hash(live) == inputs):
            return False
        server_pods = pods.of_server(self._lister.list("Pod", namespace), name)
        return any(pods.input_hash(pod) == inputs and not pods.is_terminating(pod) for pod in server_pods)

    async def _apply(
        self,
        server: DevServer,
        flavor: DevServerFlavor | None,
        user: DevServerUser,
        now: datetime,
        *,
        running: bool,
        before_restart: Callable[[str], None],
    ) -> ChildrenResult:
        """The homes come first, because the first one owns the host key; the workload comes last."""
        namespace, name = server.key
        distributed = server.replicas is not None
        if distributed and (taken := self._name_taken(server)):
            return ChildrenResult(refusal=taken)
        claim_names = home_names(name, server.replicas)
        stored = {claim: self._lister.get("PersistentVolumeClaim", namespace, claim) for claim in claim_names}
        homes = {claim: home for claim, home in stored.items() if home is not None}
        foreign = [claim for claim, home in homes.items() if distributed and not belongs_to(home, name)]
        homes = {claim: home for claim, home in homes.items() if claim not in foreign}
        live = live_workload(self._lister, namespace, name)
        uid = user.status.uid
        inputs = input_hash(server, uid) if uid is not None else ""
        kept = kept_record(live, inputs, running=running)
        blocked, unchanged = _foreign_home(server, foreign) or _misfit(server, flavor), False
        if blocked is not None and kept is None:
            kept = stored_record(live) if running and asks_for_pods(live) else None
            if kept is None:
                return ChildrenResult(refusal=blocked)
            unchanged = True  # it runs on as it was begun
        if distributed and running and kept is None and live is not None and flavor is not None:
            # A distributed server starts anew as a whole, by a new object: Kueue lets no other size or shape in.
            if asks_for_pods(live):
                before_restart(inputs)
            await self._end_former(live)
            return ChildrenResult()
        if not distributed and kept is None and self._awaits_former_pod(namespace, name, inputs, live):
            # Written now, the controller might see this start and what came before it as one, and keep the pod.
            kept, running = stored_record(live), live_replicas(live) > 0
        started = requested_start(server, now, begins=kept is None)
        request = ServerRequest(
            server=server,
            flavor=flavor,
            user=user,
            settings=self._settings,
            user_ca_public=await self._ca.public(),
            agent_public_key=await self._signing_key.public() if self._signing_key is not None else "",
            setup_secrets=() if kept is not None else await setup_secrets(self._client, namespace),
            kept=kept,
            replica_key=await ensure_replica_key(self._client, server, user) if distributed else "",
            host_ca_public=await self._host_ca.public() if distributed else "",
            live_workload=live,
            live_homes=homes,
            running=running,
            today=now.astimezone(UTC).date(),
            started=format_time(started) if started is not None else None,
        )
        desired = [m for m in manifests(request) if not _is_left_out(m, foreign, unchanged=unchanged)]
        home_error = None
        for claim in (m for m in desired if m["kind"] == "PersistentVolumeClaim"):
            claim_name = claim["metadata"]["name"]
            try:
                homes[claim_name] = await self._applier.ensure(claim)
            except ApiError as error:
                cause = home_rejection(error.status, error.message) if claim_name not in homes else None
                if cause is not None:
                    return ChildrenResult(refusal=cause)
                if claim_name not in homes or not error.refused:
                    raise
                home_error = error.message
        others = [m for m in desired if m["kind"] not in ("PersistentVolumeClaim", *WORKLOAD_KINDS)]
        host_key, *_ = await asyncio.gather(
            ensure_host_key(self._client, self._host_ca, server, user, homes.get(claim_names[0]), now),
            ensure_registry_secret(self._client, user, server.spec.image if running else None),
            *(self._applier.ensure(m) for m in others),
        )
        refusal, deployed = blocked, False
        for workload in (m for m in desired if m["kind"] in WORKLOAD_KINDS):
            if running and kept is None and live_replicas(live):
                before_restart(inputs)
            try:
                await self._applier.ensure(workload)
                deployed = True
            except ApiError as error:
                refusal = child_rejection(error.status, error.message)
                if refusal is None:
                    raise
        return ChildrenResult(host_key if isinstance(host_key, str) else None, home_error, refusal, deployed)


def _foreign_home(server: DevServer, foreign: Sequence[str]) -> Cause | None:
    """Why a distributed server can't have its homes: claims of others have their names. None when it can."""
    if not foreign or server.spec.persistent_home_size is None:
        return None
    return Cause(
        "InvalidSpec",
        f"The volume claim {foreign[0]} is not a home of {server.name}, but has the name of one. Use another name for "
        "the server, or delete the claim if its data is of no use.",
    )


def _misfit(server: DevServer, flavor: DevServerFlavor | None) -> Cause | None:
    """Why a distributed server doesn't fit its flavor, None when it does, or when there is no flavor."""
    try:
        if flavor is not None:
            Layout.of(server, flavor)
    except LayoutError as error:
        return Cause("InvalidSpec", f"{str(error)[0].upper()}{str(error)[1:]}.")
    return None


def _is_left_out(manifest: Json, foreign: Sequence[str], *, unchanged: bool) -> bool:
    """Whether a manifest isn't applied: of a claim that isn't the server's, or the workload of one that runs on."""
    if manifest["kind"] == "PersistentVolumeClaim":
        return manifest["metadata"]["name"] in foreign
    return unchanged and manifest["kind"] in WORKLOAD_KINDS
