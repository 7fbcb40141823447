"""Flavors that a stack gives to people and doesn't have: typing errors, refused before anything is made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from devservers.api.flavors import SHIPPED
from devservers.api.user import UserSpec
from devservers_core.names import ANY_FLAVOR
from infra import problems
from infra.pools import FAKE_GPU_POOL, GPU_POOL, Pool
from infra.problems import Problem


def names(pools: Iterable[Pool] | None) -> list[str]:
    """Every flavor that a platform with these pools offers; None: one on this machine, whatever GPUs it has."""
    own = [GPU_POOL, FAKE_GPU_POOL] if pools is None else [flavor.name for pool in pools if (flavor := pool.flavor())]
    return [*(flavor.name for flavor in SHIPPED), *own]


def problems_of(users: Sequence[UserSpec], known: Sequence[str]) -> list[Problem]:
    """A problem for each flavor of a person that isn't ``known``."""
    found = []
    for place, user in enumerate(users):
        for index, flavor in enumerate(user.flavors):
            if flavor != ANY_FLAVOR and flavor not in known:
                near = get_close_matches(flavor, known, 1)
                remedy = f"use {near[0]}" if near else f"known are {', '.join(known)}, and {ANY_FLAVOR} for all"
                path = f"users[{place}].flavors[{index}]"
                found.append(problems.problem(path, flavor, "this stack has no such flavor", remedy))
    return found
