"""The bastion's host key: created once, its certificate renewed beside it."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta

import pytest

from devservers.reconcile.ssh.bastion_host_key import BastionHostKey
from devservers.reconcile.ssh.certificate_authority import HostCa
from devservers_core.errors import ApiError
from devservers_core.types import Json
from tests.support.operator.api_stand_in import ApiStandIn

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SPACE = "devservers-bastion"


class World:
    """An API and the bastion's keys in it."""

    def __init__(self) -> None:
        self.api = ApiStandIn()
        self.now = NOW

    def look(self, *hosts: str) -> None:
        ca = HostCa(self.api, "devservers-system")
        asyncio.run(BastionHostKey(self.api, ca, hosts or ("ssh.example.com",), lambda: self.now).ensure())

    def data(self, kind: str, name: str, namespace: str = SPACE) -> Json:
        return dict(self.api.objects[(kind, namespace, name)]["data"])


def test_ensure_creates_the_key_once_and_publishes_the_ca() -> None:
    world = World()
    world.look()
    made = world.data("Secret", "bastion-host-key")
    ca = base64.b64decode(world.data("Secret", "host-ca", "devservers-system")["ca.pub"]).decode()
    assert world.data("ConfigMap", "bastion-info") == {"host_ca.pub": ca}
    writes = list(world.api.log)
    world.look()
    assert world.data("Secret", "bastion-host-key") == made
    assert world.api.log == writes


@pytest.mark.parametrize("change", ["time", "names", "ca"])
def test_ensure_new_certificate_keeps_the_key(change: str) -> None:
    world = World()
    world.look()
    before = world.data("Secret", "bastion-host-key")
    if change == "time":
        world.now += timedelta(days=250)
    if change == "ca":
        del world.api.objects[("Secret", "devservers-system", "host-ca")]
    world.look("other.example.com" if change == "names" else "ssh.example.com")
    after = world.data("Secret", "bastion-host-key")
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"ssh_host_ed25519_key-cert.pub"}


def test_ensure_with_a_broken_ca_fails_without_quoting_it() -> None:
    world = World()
    world.look()
    broken = base64.b64encode(b"SECRET WORDS").decode()
    world.api.objects[("Secret", "devservers-system", "host-ca")]["data"]["ca"] = broken
    with pytest.raises(ApiError, match="host-ca can't be used; delete it") as caught:
        world.look("new.example.com")
    assert "SECRET" not in str(caught.value)


def test_run_tries_again_after_a_failure_and_logs_each_error_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The bastion's pods wait for their key."""
    monkeypatch.setattr("devservers.reconcile.ssh.bastion_host_key.RETRY_SECONDS", 0.01)
    world, failures = World(), [403, 403, 500]

    def fail(verb: str, obj: Json) -> None:
        if failures:
            raise ApiError(failures.pop(0), "Refused", "")

    world.api.before_write = fail

    async def check() -> None:
        ca = HostCa(world.api, "devservers-system")
        key = BastionHostKey(world.api, ca, ["ssh.example.com"], lambda: world.now)
        running = asyncio.create_task(key.run(600.0))
        try:
            while ("ConfigMap", SPACE, "bastion-info") not in world.api.objects:  # noqa: ASYNC110 - no event is set
                await asyncio.sleep(0.01)
        finally:
            running.cancel()

    asyncio.run(asyncio.wait_for(check(), 20))
    assert failures == []
    assert len([record for record in caplog.records if "not in order yet" in record.getMessage()]) == 2
