"""Allocation of uids: never twice, also when writes race."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devservers.reconcile.uids import CONFIG_MAP, UidAllocator, next_uid, recorded_uids
from devservers_core.errors import ApiError
from devservers_core.names import ANNOTATION_USER_UID, LABEL_NAMESPACE_CREATED_BY, LABEL_NAMESPACE_USER, OPERATOR
from devservers_core.types import Json
from tests.support.operator.api_stand_in import ApiStandIn


def config_map(api: ApiStandIn) -> dict[str, str]:
    data: dict[str, str] = api.objects[("ConfigMap", "s", CONFIG_MAP)]["data"]
    return data


def test_allocate_first_user_gets_20000_and_keeps_it() -> None:
    api = ApiStandIn()
    uids = UidAllocator(api, "s")
    assert asyncio.run(uids.allocate("ann")) == 20000
    assert asyncio.run(uids.allocate("ann")) == 20000
    assert asyncio.run(UidAllocator(api, "s").allocate("ann")) == 20000, "a new operator reads what was written"
    assert len(api.log) == 1


def test_allocate_by_two_operators_never_gives_the_same_uid() -> None:
    api = ApiStandIn()
    one, two = UidAllocator(api, "s"), UidAllocator(api, "s")

    async def race() -> list[int]:
        return await asyncio.gather(*(u.allocate(f"{n}{i}") for i in range(5) for u, n in ((one, "a"), (two, "b"))))

    given_uids = asyncio.run(race())
    assert len(set(given_uids)) == 10
    assert sorted(int(uid) for uid in config_map(api).values()) == sorted(given_uids)


def test_allocate_after_a_lost_race_reads_again() -> None:
    api = ApiStandIn()
    api.put({"kind": "ConfigMap", "metadata": {"name": CONFIG_MAP, "namespace": "s"}, "data": {"ann": "20000"}})
    races = [True, True]

    def meddle(verb: str, obj: Json) -> None:
        if races:
            races.pop()
            live = dict(api.objects[("ConfigMap", "s", CONFIG_MAP)])
            live["data"] = {**live["data"], f"other{len(races)}": str(20001 + len(live["data"]))}
            api.put(live)

    api.before_write = meddle
    uid = asyncio.run(UidAllocator(api, "s").allocate("bob"))
    assert list(config_map(api).values()).count(str(uid)) == 1


def test_allocate_after_ten_lost_races_fails_without_uid() -> None:
    api = ApiStandIn()

    def lose(verb: str, obj: Json) -> None:
        raise ApiError(409, "Conflict", "")

    api.before_write = lose
    with pytest.raises(ApiError, match="faster than"):
        asyncio.run(UidAllocator(api, "s").allocate("ann"))


def namespace(user: str, uid: str, made_by: str = OPERATOR) -> Json:
    return {
        "metadata": {
            "name": f"dev-{user}",
            "labels": {LABEL_NAMESPACE_USER: user, LABEL_NAMESPACE_CREATED_BY: made_by},
            "annotations": {ANNOTATION_USER_UID: uid},
        }
    }


def test_allocate_after_a_lost_config_map_keeps_recorded_uids() -> None:
    """After an uninstallation and a new installation homes go back to their owners, and to nobody else."""
    kept = recorded_uids([namespace("ann", "20003"), namespace("bob", "20007"), namespace("eve", "20009", "eve")])
    assert kept == {"ann": 20003, "bob": 20007}
    api = ApiStandIn()
    assert asyncio.run(UidAllocator(api, "s").allocate("carl", None, lambda: kept)) == 20008
    assert asyncio.run(UidAllocator(api, "s").allocate("ann", None, lambda: kept)) == 20003
    assert config_map(api) == {"ann": "20003", "bob": "20007", "carl": "20008"}


def test_allocate_for_a_user_with_uid_reads_no_namespaces() -> None:
    api = ApiStandIn()
    api.put({"kind": "ConfigMap", "metadata": {"name": CONFIG_MAP, "namespace": "s"}, "data": {"ann": "20000"}})
    uids, asked = UidAllocator(api, "s"), list[str]()

    def kept() -> dict[str, int]:
        asked.append("asked")
        return {}

    assert [asyncio.run(uids.allocate(name, None, kept)) for name in ("ann", "ann")] == [20000, 20000]
    assert asked == []
    assert asyncio.run(uids.allocate("bob", None, kept)) == 20001
    assert asked == ["asked"]


def test_allocate_recorded_uid_of_somebody_else_gives_another() -> None:
    api = ApiStandIn()
    api.put({"kind": "ConfigMap", "metadata": {"name": CONFIG_MAP, "namespace": "s"}, "data": {"ann": "20000"}})
    assert asyncio.run(UidAllocator(api, "s").allocate("bob", None, lambda: {"bob": 20000})) == 20001


@pytest.mark.parametrize("uid", ["", "root", "0", "999", "-20001", "20001 "])
def test_recorded_uids_ignores_an_invalid_annotation(uid: str) -> None:
    assert recorded_uids([namespace("ann", uid)]) == {}


@given(st.dictionaries(st.text(min_size=1), st.integers(20000, 30000)), st.none() | st.integers(0, 40000))
def test_next_uid_is_free_and_in_range(given_uids: dict[str, int], recorded: int | None) -> None:
    uid = next_uid(given_uids, recorded)
    assert uid >= 20000
    assert uid not in given_uids.values()
