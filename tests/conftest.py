"""What all tiers share."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from infra.local import packages

TIERS = [Path(__file__).parent / tier for tier in ("cluster", "bastion", "node")]
"""Where tests start programs of the machine."""

# A shell's background job (`make test &` in a script) ignores Ctrl-C, and so would every process that a test starts
# and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# What ends a run from outside ends it as Ctrl-C does: each fixture takes down what it started.
signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_finish(session: pytest.Session) -> None:
    """End at once, naming the program and its package, when a tier's programs are not all there."""
    if any(tier in item.path.parents for item in session.items for tier in TIERS):
        try:
            packages.require()
        except packages.PackageError as error:
            raise pytest.UsageError(str(error)) from None
