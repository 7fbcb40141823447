"""Settings of all test tiers: signals, environment and required packages."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from devcluster import ROOT, packages

TIERS = [Path(__file__).parent / tier for tier in ("cluster", "bastion", "node")]
"""Where tests start programs of the machine."""

# What a machine may happen to set: a plugin that flushes nothing hung everywhere but where Python wrote unbuffered.
for variable in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"):
    os.environ.pop(variable, None)
# A shell's background job (`make test &` in a script) ignores Ctrl-C, and so would every process that a test starts
# and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# What ends a run from outside ends it as Ctrl-C does: each fixture takes down what it started.
signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_finish(session: pytest.Session) -> None:
    """End at once, and say what is missing, when a tier can't run here."""
    if any(tier in item.path.parents for item in session.items for tier in TIERS):
        if closed := [folder for folder in (ROOT, *ROOT.parents) if not folder.stat().st_mode & 0o001]:
            raise pytest.UsageError(
                f"the tests run programs of this checkout as other accounts, who may not enter {closed[-1]}\n"
                "  move the checkout below /srv or another folder that everybody may enter"
            )
        try:
            packages.require()
        except packages.PackageError as error:
            raise pytest.UsageError(str(error)) from None
