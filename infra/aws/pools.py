"""Invariant: a stack's `pools` list is read in one place; node groups and the platform get the same pools.

Pure.
"""

from __future__ import annotations

from infra.aws.settings import Aws
from infra.pools import Pool


def pools_of(aws: Aws) -> tuple[Pool, ...]:
    """The pools as the platform sees them, in the order of the list."""
    raise NotImplementedError
