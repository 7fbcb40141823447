"""Writes files atomically."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, text: str, mode: int = 0o666) -> None:
    """Replace a file's content at once; `mode` is limited by the umask. Raises OSError.

    Bytes that were read with surrogateescape are written as they were.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.touch(mode=mode)
    partial.write_text(text, encoding="utf-8", errors="surrogateescape")
    partial.replace(path)
