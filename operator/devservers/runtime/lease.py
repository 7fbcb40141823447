"""Leader election by a coordination.k8s.io Lease; a lost Lease ends the process.

Invariant: a process writes only while it holds the Lease by its own monotonic clock. A leader that could not renew for
two thirds of the lease time ends its process at once, so two processes never write at the same time. A clean stop
releases the Lease, and a standby takes it at its next try (a seventh of the lease time).

The operator has its own election because the client library's (kubernetes.aio.leaderelection) neither fences nor
releases. It measures its deadline by the wall clock, which may be set back; nothing asks it before each write; after a
lost Lease it cancels the leading coroutine and lets the process go on; and it has no release, so after a clean stop a
standby waits until the Lease has run out.

See docs/decisions/0002-own-lease.md.
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
    """The part of the API client that leader election uses."""

    async def get(self, kind: str, namespace: str, name: str) -> Json:
        """Reads the Lease."""

    async def create(self, obj: Json) -> Json:
        """Creates the Lease; ApiError 409 when it exists."""

    async def replace(self, obj: Json) -> Json:
        """Replaces the Lease; ApiError 409 when somebody else wrote it in between."""


class LeaseLostError(RuntimeError):
    """This process no longer leads and must not write."""


def exit_process() -> None:
    """Ends the process without cleaning up: another leader may already write."""
    os._exit(3)


class Lease:
    """One candidate for one Lease object. `api` must not be guarded by this very lease."""

    def __init__(
        self,
        api: LeaseApi,
        *,
        namespace: str,
        name: str,
        identity: str,
        seconds: float = 15.0,
        on_lost: Callable[[], None] = exit_process,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes `seconds`, how long others wait after our last renewal, and `on_lost`, called once."""
        self._api = api
        self._namespace, self._name, self._identity = namespace, name, identity
        self._seconds = seconds
        self._on_lost = on_lost
        self._clock = clock
        self._lease: Json | None = None
        self._renewed = float("-inf")
        self._observed_version = ""
        self._observed_at = 0.0
        self.contacted = float("-inf")
        """When the API server last answered, by the monotonic clock."""

    @property
    def leading(self) -> bool:
        """Whether this process holds the Lease and renewed it in time."""
        return self._lease is not None and self._clock() - self._renewed < self._seconds * 2 / 3

    def guard(self) -> None:
        """Raises LeaseLostError unless this process leads right now."""
        if not self.leading:
            raise LeaseLostError("the lease is not held")

    async def acquire(self) -> bool:
        """Tries until this process leads, then returns True."""
        while not await self._try_once():  # noqa: ASYNC110 - the API server is polled; nothing here sets an event
            await asyncio.sleep(self._seconds / 7 * (1 + 0.2 * random.random()))
        log.info("lease acquired identity=%s", self._identity)
        return True

    async def keep(self) -> None:
        """Renews the Lease until cancelled.

        When it can't be renewed in time, `on_lost` is called. LeaseLostError is raised only if `on_lost` returns, as a
        test's does; `exit_process` doesn't.
        """
        while True:
            await asyncio.sleep(self._seconds / 3 if self._clock() - self._renewed < self._seconds / 3 else 0.5)
            try:
                async with asyncio.timeout(max(0.1, self._renewed + self._seconds * 2 / 3 - self._clock())):
                    renewed = await self._try_once()
            except TimeoutError:
                renewed = self.leading
            if not renewed and (self._lease is None or not self.leading):
                log.error("lease lost identity=%s: exiting", self._identity)
                self._lease = None
                self._on_lost()
                raise LeaseLostError("the lease could not be renewed")

    async def release(self) -> None:
        """Gives the Lease up, so that a standby takes it at once. A failure is logged and harmless."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._api.replace({**lease, "spec": spec})
            log.info("lease released identity=%s", self._identity)
        except ApiError as error:
            log.warning("lease not released error=%s", error)

    async def _try_once(self) -> bool:
        """Reads the Lease and writes it if it is free or ours; returns whether this process holds it."""
        started = self._clock()
        try:
            try:
                lease = await self._api.get("Lease", self._namespace, self._name)
            except ApiError as error:
                if not error.not_found:
                    raise
                answer = await self._api.create(self._with_this_holder(None))
            else:
                self.contacted = self._clock()
                if not self._is_available(lease):
                    self._lease = None
                    return False
                answer = await self._api.replace(self._with_this_holder(lease))
        except ApiError as error:
            if error.conflict:
                return False  # another candidate wrote first; the next try shows who holds it
            log.warning("lease not reachable error=%s", error)
            return False
        self.contacted = self._clock()
        self._lease, self._renewed = answer, started
        return True

    def _is_available(self, lease: Json) -> bool:
        spec = lease.get("spec", {})
        holder = spec.get("holderIdentity") or ""
        if holder in ("", self._identity):
            return True
        # Clocks of two machines can't be compared: what counts is how long *we* have seen no renewal.
        version = lease["metadata"]["resourceVersion"]
        if version != self._observed_version:
            self._observed_version, self._observed_at = version, self._clock()
        return self._clock() - self._observed_at >= float(spec.get("leaseDurationSeconds") or self._seconds)

    def _with_this_holder(self, lease: Json | None) -> Json:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec_before = (lease or {}).get("spec", {})
        is_holder = spec_before.get("holderIdentity") == self._identity
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._seconds)),
            "acquireTime": spec_before.get("acquireTime", now) if is_holder else now,
            "renewTime": now,
            "leaseTransitions": spec_before.get("leaseTransitions", 0) + (0 if is_holder or lease is None else 1),
        }
        if lease is not None:
            return {**lease, "spec": spec}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": spec,
        }
