"""Environments recorded once for all who look at them: each takes seconds."""

from __future__ import annotations

import gc

import pytest

from infra.preview.graph import Graph
from tests.support.infra.aws_graph import DEV, PROD, recorded, settings

# The SDK of AWS leaves a quarter of a million objects that never go; by default a third of the time is spent on
# looking at them again.
gc.set_threshold(100_000, 50, 100)


@pytest.fixture(scope="session")
def dev() -> Graph:
    return recorded(settings(DEV))


@pytest.fixture(scope="session")
def dev_preview() -> Graph:
    return recorded(settings(DEV), preview=True)


@pytest.fixture(scope="session")
def prod() -> Graph:
    return recorded(settings(PROD), stack="prod")


@pytest.fixture(scope="session")
def prod_preview() -> Graph:
    return recorded(settings(PROD), stack="prod", preview=True)
