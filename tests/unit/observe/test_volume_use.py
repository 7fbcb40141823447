"""How full a server's volumes are, in its status."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devservers.observe.reports.volume_use import claims_by_path, volume_use
from devservers_core.protocol.agent.report import VolumeUse
from devservers_core.types import Json
from tests.support.operator.observe_objects import at, server, stamp

HOUR = 3600
MOUNTS = [{"claimName": "data", "mountPath": "/data/"}]
HOME = "/home/dev"


def entry(used: int, seconds: float = 0, path: str = "/data", claim: str = "data", size: int | None = 100) -> Json:
    sized = {} if size is None else {"sizeBytes": size}
    return {"path": path, "claimName": claim, "usedBytes": used, **sized, "at": stamp(seconds)}


def use(previous: Sequence[Json], seconds: float, *reported: VolumeUse) -> list[Json]:
    return volume_use(server(volumes=MOUNTS, persistentHomeSize="1Gi"), previous, reported, at(seconds))


def test_claims_by_path_has_home_shared_and_own_volumes() -> None:
    everything = server(volumes=MOUNTS, persistentHomeSize="1Gi", sharedVolumeClaimName="team")
    assert claims_by_path(everything) == {"/data": "data", "/shared": "team", HOME: "mydev-home"}
    own_home = server(volumes=[{"claimName": "mine", "mountPath": HOME}])
    assert claims_by_path(own_home) == {HOME: "mine"}


def test_volume_use_first_report_is_written() -> None:
    found = use((), 5, VolumeUse("/data", 7, 100), VolumeUse(HOME, 3, None))
    assert found == [entry(7, 5), entry(3, 5, HOME, "mydev-home", None)]


def test_volume_use_paths_that_are_not_mounted_are_left_out() -> None:
    assert use((), 5, VolumeUse("/etc", 7, 100), VolumeUse("/", 7, 100)) == []


@pytest.mark.parametrize(
    ("seconds", "reported", "written"),
    [
        (HOUR - 1, VolumeUse("/data", 90, 100), False),
        (HOUR, VolumeUse("/data", 90, 100), True),
        (HOUR, VolumeUse("/data", 42, 100), True),
        (HOUR, VolumeUse("/data", 41, 100), False),
        (HOUR, VolumeUse("/data", 39, 100), False),
        (HOUR, VolumeUse("/data", 38, 100), True),
        (HOUR, VolumeUse("/data", 40, 200), True),
        (HOUR, VolumeUse(HOME, 1, None), True),
    ],
)
def test_volume_use_is_written_hourly_and_when_changed_by_5_percent(
    seconds: float, reported: VolumeUse, written: bool
) -> None:
    before = [entry(40)]
    assert (use(before, seconds, reported) != before) is written


def test_volume_use_without_report_keeps_what_was_known() -> None:
    """A stopped server's volumes are as full as when it ran."""
    before = [entry(40)]
    assert use(before, 9 * HOUR) == before


def test_volume_use_of_another_claim_at_the_path_is_dropped() -> None:
    assert use([entry(40, claim="other")], 9 * HOUR) == []


def test_volume_use_entry_that_can_not_be_read_is_replaced() -> None:
    broken = {"path": "/data", "claimName": "data", "usedBytes": "much", "at": "soon"}
    assert use([broken], 5, VolumeUse("/data", 7, 100)) == [entry(7, 5)]


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 10**6)), max_size=40))
def test_volume_use_changes_at_most_once_an_hour(reports: list[tuple[int, int]]) -> None:
    entries: list[Json] = []
    changes: list[int] = []
    now = 0
    for seconds, used in reports:
        now += seconds
        new = use(entries, now, VolumeUse("/data", used, 10**6))
        if new != entries:
            changes.append(now)
        entries = new
    assert all(later - earlier >= HOUR for earlier, later in itertools.pairwise(changes))
