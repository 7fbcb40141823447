"""Checks that the flavors which users may use exist in the stack."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from devservers.api.shipped_flavors import SHIPPED
from devservers.api.user import UserSpec
from devservers_core.names import ANY_FLAVOR
from infra.catalog import FAMILIES
from infra.settings import problems
from infra.settings.aws.models import Aws
from infra.settings.problems import Problem

GPU_POOL = "gpu"
FAKE_GPU_POOL = "gpu-fake"
"""The pools, and flavors, of GPUs on a local cluster: real and pretended ones."""
LOCAL_POOL = "local"
"""The one pool that a local cluster always has."""


def names(aws: Aws | None) -> list[str]:
    """Every flavor that a stack offers; None stands for a local stack."""
    own = [GPU_POOL, FAKE_GPU_POOL] if aws is None else [pool.name for pool in aws.pools if FAMILIES[pool.family].gpu]
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
