"""Logging of the bastion's programs, apart from the audit log."""

from __future__ import annotations

from pathlib import Path

from devservers_core import logs


def setup_logging() -> None:
    """Sends all logging to stderr, which is the container's log."""
    logs.setup("INFO", Path(__file__).resolve().parent)
