"""Logging of the operator's and the bastion's processes, one line a record."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path


class OneLineFormatter(logging.Formatter):
    """Formats a record as one line.

    `2026-01-01T00:00:00.000Z INFO devservers message exc="..."`
    """

    def __init__(self, package: Path) -> None:
        """`package` is the folder whose frames an exception names.

        A checkout may well be called as a package is.
        """
        super().__init__()
        self._package = f"{package}/"

    def format(self, record: logging.LogRecord) -> str:
        """The record's line, without its end."""
        at = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{record.msecs:03.0f}Z"
        line = f"{at} {record.levelname} {record.name} {record.getMessage()}"
        if record.exc_info and record.exc_info[1] is not None:
            line += f' exc="{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"{self._frames(record)}'
        return " ".join(line.splitlines())

    def _frames(self, record: logging.LogRecord) -> str:
        """The innermost frames of the package, as at=file:line."""
        traceback = record.exc_info[2] if record.exc_info else None
        frames = []
        while traceback is not None:
            filename = traceback.tb_frame.f_code.co_filename
            if filename.startswith(self._package):
                frames.append(f"{filename.removeprefix(self._package)}:{traceback.tb_lineno}")
            traceback = traceback.tb_next
        return f" at={','.join(frames[-3:])}" if frames else ""


def setup(level: str, package: Path) -> None:
    """Sends all logging to stderr.

    Libraries that log what they do are heard from WARNING on.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLineFormatter(package))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("asyncio").setLevel(logging.WARNING)
