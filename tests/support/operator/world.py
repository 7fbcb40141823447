"""Both reconcilers over an API server in memory and a cache in step with it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from devservers.build.devserver import BuildSettings
from devservers.observe.times import format_time
from devservers.reconcile.applier import Applier
from devservers.reconcile.devserver import ServerReconciler
from devservers.reconcile.interfaces import Result
from devservers.reconcile.ssh.certificate_authority import HostCa, UserCa
from devservers.reconcile.uids import UidAllocator
from devservers.reconcile.user import UserReconciler
from devservers.runtime.cache import Cache
from devservers_core.types import Json
from tests.support.operator.api_stand_in import ApiStandIn


class World:
    """An API, a cache that is in step with it, and both reconcilers."""

    def __init__(self) -> None:
        self.api = ApiStandIn()
        self.cache = Cache()
        applier = Applier(self.cache, self.api)
        self.servers = ServerReconciler(
            self.cache,
            self.api,
            applier,
            UserCa(self.api, "s"),
            HostCa(self.api, "s"),
            BuildSettings("a/b:1", "c/d:1"),
        )
        self.users = UserReconciler(self.cache, self.api, applier, UidAllocator(self.api, "s"))

    def put(self, kind: str, namespace: str, name: str, **fields: Any) -> Json:
        # As from the API server: without it the time of a stage would move with each reconcile.
        metadata = {"name": name, "generation": 1, "creationTimestamp": format_time(datetime.now(UTC))}
        metadata |= {"namespace": namespace} if namespace else {}
        obj = {"apiVersion": "devservers.io/v1", "kind": kind, "metadata": metadata, **fields}
        stored = self.api.put(obj)
        self.cache.put(stored)
        return stored

    def server(self, namespace: str = "dev-ann", **spec: Any) -> Json:
        self.put("DevServer", namespace, "mydev", spec={"flavor": "small", **spec})
        asyncio.run(self.servers.reconcile(namespace, "mydev"))
        return self.api.objects[("DevServer", namespace, "mydev")]

    def user(self, name: str = "ann") -> None:
        self.put("DevServerUser", "", name, spec={"username": name})
        asyncio.run(self.users.reconcile(name))

    def flavor(self) -> None:
        self.put("DevServerFlavor", "", "small", spec={"resources": {"limits": {"cpu": "1"}}})

    def reconcile(self) -> Result:
        return asyncio.run(self.servers.reconcile("dev-ann", "mydev"))

    def conditions(self) -> dict[str, Json]:
        status = self.api.objects[("DevServer", "dev-ann", "mydev")]["status"]
        return {condition["type"]: condition for condition in status["conditions"]}
