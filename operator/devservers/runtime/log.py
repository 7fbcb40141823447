"""Logging of the operator, one line per record; kopf and aiohttp log from WARNING on."""

from __future__ import annotations

import logging
from pathlib import Path

from devservers_core import logs

PACKAGE = Path(__file__).resolve().parents[1]


def setup(level: str) -> None:
    """Sends all logging to stderr as single lines."""
    logs.setup(level, PACKAGE)
    for name in ("kopf", "aiohttp"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.ERROR)
