"""Leadership by a coordination.k8s.io Lease, with death as the fence.

Invariant: a process writes only while it holds the Lease by its own monotonic clock. A leader that couldn't
renew for two thirds of the lease time exits the process at once, so at no moment do two processes write. A
clean stop gives the Lease back, and the standby takes it within its next look (a seventh of the lease
time).
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from devservers_core.errors import ApiError
from devservers_core.types import Json

log = logging.getLogger("devservers.lease")


class LeaseApi(Protocol):
    """What electing needs of the API server."""

    async def get(self, kind: str, namespace: str, name: str) -> Json: ...

    async def create(self, obj: Json) -> Json: ...

    async def replace(self, obj: Json) -> Json: ...


class LeaseLostError(RuntimeError):
    """This process no longer leads; nothing may be written."""


def die() -> None:
    """Ends the process without cleaning up: another leader may already be at work."""
    os._exit(3)


class Lease:
    """One candidate for one Lease object. api must not be guarded by this very lease."""

    def __init__(
        self,
        api: LeaseApi,
        *,
        namespace: str,
        name: str,
        identity: str,
        seconds: float = 15.0,
        on_lost: Callable[[], None] = die,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """seconds: how long others wait after our last renewal. on_lost is called once when it can't be
        kept.
        """
        self._api = api
        self._namespace, self._name, self._identity = namespace, name, identity
        self._seconds = seconds
        self._on_lost = on_lost
        self._clock = clock
        self._held: Json | None = None
        self._renewed = float("-inf")
        self._seen_version = ""
        self._seen_at = 0.0
        self.contacted = float("-inf")
        """When the API server last answered, by the monotonic clock."""

    @property
    def leading(self) -> bool:
        return self._held is not None and self._clock() - self._renewed < self._seconds * 2 / 3

    def guard(self) -> None:
        """Raises LeaseLostError unless this process leads right now."""
        if not self.leading:
            raise LeaseLostError("the lease is not held")

    async def acquire(self) -> bool:
        """Waits until this process leads; True."""
        while not await self._try():
            await asyncio.sleep(self._seconds / 7 * (1 + 0.2 * random.random()))
        log.info("lease acquired identity=%s", self._identity)
        return True

    async def keep(self) -> None:
        """Renews until cancelled. When it can't in time, on_lost is called and LeaseLostError raised."""
        while True:
            await asyncio.sleep(self._seconds / 3 if self._clock() - self._renewed < self._seconds / 3 else 0.5)
            try:
                async with asyncio.timeout(max(0.1, self._renewed + self._seconds * 2 / 3 - self._clock())):
                    kept = await self._try()
            except TimeoutError:
                kept = self.leading
            if not kept and (self._held is None or not self.leading):
                log.error("lease lost identity=%s: exiting", self._identity)
                self._held = None
                self._on_lost()
                raise LeaseLostError("the lease could not be renewed")

    async def release(self) -> None:
        """Gives the Lease back so that a standby needn't wait for it to run out. Failing to is harmless."""
        held, self._held = self._held, None
        if held is None:
            return
        spec = {**held["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._api.replace({**held, "spec": spec})
            log.info("lease released identity=%s", self._identity)
        except ApiError as error:
            log.warning("lease not released error=%s", error)

    async def _try(self) -> bool:
        """One look and, where it is free or ours, one write. False: not ours (yet)."""
        started = self._clock()
        try:
            try:
                lease = await self._api.get("Lease", self._namespace, self._name)
            except ApiError as error:
                if not error.not_found:
                    raise
                answer = await self._api.create(self._wanted(None))
            else:
                self.contacted = self._clock()
                if not self._free(lease):
                    self._held = None
                    return False
                answer = await self._api.replace(self._wanted(lease))
        except ApiError as error:
            if error.conflict:
                return False  # somebody else was quicker; what that means shows at the next look
            log.warning("lease not reachable error=%s", error)
            return False
        self.contacted = self._clock()
        self._held, self._renewed = answer, started
        return True

    def _free(self, lease: Json) -> bool:
        spec = lease.get("spec", {})
        holder = spec.get("holderIdentity") or ""
        if holder in ("", self._identity):
            return True
        # Clocks of two machines can't be compared: what counts is how long *we* have seen no renewal.
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen_version:
            self._seen_version, self._seen_at = version, self._clock()
        return self._clock() - self._seen_at >= float(spec.get("leaseDurationSeconds") or self._seconds)

    def _wanted(self, lease: Json | None) -> Json:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        old = (lease or {}).get("spec", {})
        mine = old.get("holderIdentity") == self._identity
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._seconds)),
            "acquireTime": old.get("acquireTime", now) if mine else now,
            "renewTime": now,
            "leaseTransitions": old.get("leaseTransitions", 0) + (0 if mine or lease is None else 1),
        }
        if lease is not None:
            return {**lease, "spec": spec}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": spec,
        }
