"""Applies the children of one server: home, keys, Service, Secrets, workload.

Invariant: a stop depends on no other child. A server that isn't to run has no pod, whatever else fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.user import DevServerUser
from devservers.build.devserver import (
    WORKLOAD_KINDS,
    BuildSettings,
    ServerRequest,
    input_hash,
    kept_record,
    live_replicas,
    manifests,
    stored_record,
)
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
from devservers.reconcile.user_setup import setup_secrets
from devservers.reconcile.workload import live_workload, scale_to_zero
from devservers_core.errors import ApiError
from devservers_core.names import home_name
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
        """The home comes first, because it owns the host key; the workload comes last."""
        namespace, name = server.key
        home = self._lister.get("PersistentVolumeClaim", namespace, home_name(name))
        live = live_workload(self._lister, namespace, name)
        uid = user.status.uid
        inputs = input_hash(server, uid) if uid is not None else ""
        kept = kept_record(live, inputs, running=running)
        if kept is None and self._awaits_former_pod(namespace, name, inputs, live):
            # Written now, the controller might see this start and what came before it as one, and keep the pod.
            kept, running = stored_record(live), live_replicas(live) > 0
        started = requested_start(server, now, begins=kept is None)
        desired = manifests(
            ServerRequest(
                server=server,
                flavor=flavor,
                user=user,
                settings=self._settings,
                user_ca_public=await self._ca.public(),
                agent_public_key=await self._signing_key.public() if self._signing_key is not None else "",
                setup_secrets=() if kept is not None else await setup_secrets(self._client, namespace),
                kept=kept,
                live_home=home,
                running=running,
                today=now.astimezone(UTC).date(),
                started=format_time(started) if started is not None else None,
            )
        )
        home_error = None
        for claim in (m for m in desired if m["kind"] == "PersistentVolumeClaim"):
            try:
                home = await self._applier.ensure(claim)
            except ApiError as error:
                cause = home_rejection(error.status, error.message) if home is None else None
                if cause is not None:
                    return ChildrenResult(refusal=cause)
                if home is None or not error.refused:
                    raise
                home_error = error.message
        others = [m for m in desired if m["kind"] not in ("PersistentVolumeClaim", *WORKLOAD_KINDS)]
        host_key, *_ = await asyncio.gather(
            ensure_host_key(self._client, self._host_ca, server, user, home, now),
            ensure_registry_secret(self._client, user, server.spec.image if running else None),
            *(self._applier.ensure(m) for m in others),
        )
        refusal, deployed = None, False
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
