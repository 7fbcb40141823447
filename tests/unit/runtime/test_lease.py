"""The Lease: one leader at a time, by each candidate's own clock."""

from __future__ import annotations

import asyncio

import pytest

from devservers.runtime.lease import Lease, LeaseLostError
from devservers_core.errors import ApiError
from devservers_core.types import Json
from tests.support.operator.api_stand_in import ApiStandIn


class Clock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def lease(api: ApiStandIn, clock: Clock, identity: str, lost: list[str] | None = None) -> Lease:
    return Lease(
        api, namespace="s", name="l", identity=identity, seconds=15, clock=clock,
        on_lost=lambda: (lost if lost is not None else []).append(identity),
    )  # fmt: skip


def holder(api: ApiStandIn) -> str:
    return str(api.objects[("Lease", "s", "l")]["spec"]["holderIdentity"])


def test_acquire_by_a_second_candidate_waits_for_the_release() -> None:
    async def go() -> None:
        api, clock = ApiStandIn(), Clock()
        one, two = lease(api, clock, "one"), lease(api, clock, "two")
        assert await one.acquire()
        assert not await two._try_once()
        with pytest.raises(LeaseLostError):
            two.guard()
        one.guard()
        await one.release()
        with pytest.raises(LeaseLostError):
            one.guard()
        assert await two._try_once()
        assert holder(api) == "two"
        assert api.objects[("Lease", "s", "l")]["spec"]["leaseTransitions"] == 1

    asyncio.run(go())


def test_silent_leader_is_replaced_after_the_lease_time() -> None:
    async def go() -> None:
        api, clock = ApiStandIn(), Clock()
        one, two = lease(api, clock, "one"), lease(api, clock, "two")
        await one.acquire()
        assert not await two._try_once()
        clock.now += 14
        assert not await two._try_once()
        with pytest.raises(LeaseLostError):
            one.guard()  # it stopped writing before anybody could follow
        clock.now += 1
        assert await two._try_once()
        assert not await one._try_once()

    asyncio.run(go())


def test_renewal_starts_the_lease_time_again() -> None:
    async def go() -> None:
        api, clock = ApiStandIn(), Clock()
        one, two = lease(api, clock, "one"), lease(api, clock, "two")
        await one.acquire()
        for _ in range(5):
            clock.now += 9
            assert await one._try_once()
            assert not await two._try_once()

    asyncio.run(go())


def test_keep_of_a_lost_lease_calls_on_lost() -> None:
    async def go() -> None:
        api, clock, lost = ApiStandIn(), Clock(), list[str]()
        one = lease(api, clock, "one", lost)
        await one.acquire()
        taken = dict(api.objects[("Lease", "s", "l")])
        taken["spec"] = {**taken["spec"], "holderIdentity": "other"}
        api.put(taken)
        clock.now += 9  # time to renew
        with pytest.raises(LeaseLostError):
            await asyncio.wait_for(one.keep(), 5)
        assert lost == ["one"]

    asyncio.run(go())


def test_guard_of_an_unreachable_server_holds_for_two_thirds() -> None:
    async def go() -> None:
        api, clock = ApiStandIn(), Clock()
        one = lease(api, clock, "one")
        await one.acquire()

        def fail(verb: str, obj: Json) -> None:
            raise ApiError(0, "Unreachable", "")

        api.before_write = fail
        clock.now += 5
        assert not await one._try_once()
        one.guard()
        clock.now += 5
        with pytest.raises(LeaseLostError):
            one.guard()

    asyncio.run(go())


def test_release_that_fails_is_harmless_and_of_a_lease_not_held_writes_nothing() -> None:
    async def go() -> None:
        api, clock = ApiStandIn(), Clock()
        one, two = lease(api, clock, "one"), lease(api, clock, "two")
        await two.release()
        assert api.log == []
        await one.acquire()

        def fail(verb: str, obj: Json) -> None:
            raise ApiError(0, "Unreachable", "")

        api.before_write = fail
        await one.release()
        with pytest.raises(LeaseLostError):
            one.guard()

    asyncio.run(go())


def test_keep_with_an_api_server_that_never_answers_calls_on_lost_in_time() -> None:
    """A renewal that hangs counts as none: the process ends before another can lead."""

    async def go() -> None:
        api, lost = ApiStandIn(), list[str]()
        one = Lease(api, namespace="s", name="l", identity="one", seconds=0.6, on_lost=lambda: lost.append("one"))
        await one.acquire()

        async def hang(kind: str, namespace: str, name: str) -> Json:
            await asyncio.sleep(60)
            return {}

        api.get = hang  # type: ignore[method-assign]
        started = asyncio.get_running_loop().time()
        with pytest.raises(LeaseLostError):
            await asyncio.wait_for(one.keep(), 10)
        assert lost == ["one"]
        assert asyncio.get_running_loop().time() - started < 5

    asyncio.run(go())
