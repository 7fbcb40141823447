"""Logging to stderr, one `key=value` line per record; kopf logs from WARNING on."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

_OURS = f"{Path(__file__).resolve().parents[1]}/"
"""The package's folder: a checkout may well be called as the package is."""


class OneLineFormatter(logging.Formatter):
    """Formats a record as `2026-01-01T00:00:00.000Z INFO devservers message exc="..."`, always one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record."""
        at = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{record.msecs:03.0f}Z"
        line = f"{at} {record.levelname} {record.name} {record.getMessage()}"
        if record.exc_info and record.exc_info[1] is not None:
            line += f' exc="{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"{_where(record)}'
        return " ".join(line.split("\n"))


def _where(record: logging.LogRecord) -> str:
    """The innermost frames of the operator's own code, as at=file:line."""
    traceback = record.exc_info[2] if record.exc_info else None
    ours = []
    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        if filename.startswith(_OURS):
            ours.append(f"{filename.removeprefix(_OURS)}:{traceback.tb_lineno}")
        traceback = traceback.tb_next
    return f" at={','.join(ours[-3:])}" if ours else ""


def setup(level: str) -> None:
    """Sends all logging to stderr as single lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("kopf", "asyncio", "aiohttp"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.ERROR)
