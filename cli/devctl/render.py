"""What goes to the screen: tables, JSON, YAML, names; colour only where a person looks.

Invariant: data on stdout, messages on stderr; no escape sequence when the stream is no terminal, NO_COLOR is
set or TERM is dumb. Tables are made here rather than with rich, whose import costs more than a whole list.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from devservers_core.types import Json

Row = Sequence[str]

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}
PHASE_COLOURS = {
    "Running": "green",
    "Starting": "cyan",
    "Pending": "yellow",
    "Stopping": "yellow",
    "Stopped": "dim",
    "Failed": "red",
    "Terminating": "dim",
}


def coloured(stream: TextIO) -> bool:
    """Whether escape sequences may go to `stream`."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """`text` in a colour when the stream (default: stdout) may have it."""
    if colour not in _COLOURS or not coloured(stream or sys.stdout):
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def out(text: str) -> None:
    """A line of data."""
    sys.stdout.write(text + "\n")


def say(text: str) -> None:
    """A message to the person."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def warn(text: str) -> None:
    """A warning line."""
    say(paint("warning:", "yellow", sys.stderr) + " " + clean(text))


def clean(text: str) -> str:
    """`text` without control characters, so that an object of the cluster cannot drive a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def table(
    header: Row,
    rows: Sequence[Row],
    colour: Callable[[int, str], str | None] | None = None,
    *,
    whole: bool = False,
) -> None:
    """An aligned table; `colour(column, cell)` may name a colour for a cell.

    On a terminal it is fitted into the width, unless it is to be `whole`.
    """
    rows = [[clean(cell) for cell in row] for row in rows]
    if not whole and sys.stdout.isatty():
        import shutil

        before = list(header)
        header, rows = fitted(header, rows, shutil.get_terminal_size().columns)
        if colour is not None and len(header) < len(before):
            kept, given = [before.index(name) for name in header], colour
            colour = lambda at, cell: given(kept[at], cell)  # noqa: E731
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for number, row in enumerate([header, *rows]):
        cells = []
        for i, cell in enumerate(row):
            padded = cell if i == len(row) - 1 else cell.ljust(widths[i])
            name = "dim" if number == 0 else (colour(i, cell) if colour else None)
            cells.append(paint(padded, name) if name else padded)
        out("   ".join(cells).rstrip())


GAP = 3
"""Blanks between two columns."""
NARROWEST = 12
"""Characters below which a last column that is cut says nothing any more."""


def fitted(header: Row, rows: Sequence[Row], width: int) -> tuple[list[str], list[list[str]]]:
    """A table for a terminal of `width` columns: the last column is cut, and where that is not enough others go.

    They go from the right; the first two and the last stay, whatever the width.
    """
    columns = [[name, *(row[at] for row in rows)] for at, name in enumerate(header)]
    widths = [max(map(len, column)) for column in columns]
    while len(columns) > 3 and sum(widths[:-1]) + GAP * (len(columns) - 1) + min(widths[-1], NARROWEST) > width:
        del columns[-2], widths[-2]
    room = max(width - sum(widths[:-1]) - GAP * (len(columns) - 1), NARROWEST)
    columns[-1] = [cell if len(cell) <= room else cell[: room - 1].rstrip() + "…" for cell in columns[-1]]
    lines = [list(line) for line in zip(*columns, strict=True)]
    return lines[0], lines[1:]


def to_yaml(document: Any) -> str:  # noqa: ANN401 - any JSON value
    """YAML with the keys in their own order."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(document, Dumper=dumper, sort_keys=False, default_flow_style=False, allow_unicode=True))


def to_json(document: Any) -> str:  # noqa: ANN401 - any JSON value
    """Indented JSON."""
    return json.dumps(document, indent=2, ensure_ascii=False)


def machine(output: str, document: Json, kind: str) -> bool:
    """Print an object or a v1 List in a machine's format; False when `output` is for people.

    `name` prints `kind/NAME` per object.
    """
    if output == "json":
        out(to_json(document))
    elif output == "yaml":
        sys.stdout.write(to_yaml(document))
    elif output == "name":
        for item in document.get("items", [document]):
            out(f"{kind}/{item['metadata']['name']}")
    else:
        return False
    return True


def as_list(items: list[Json], api_version: str, kind: str) -> Json:
    """Objects as a v1 List, each with its apiVersion and kind (the API leaves them out in lists)."""
    return {
        "apiVersion": "v1",
        "kind": "List",
        "metadata": {},
        "items": [{"apiVersion": api_version, "kind": kind, **item} for item in items],
    }


def when(text: str | None) -> datetime | None:
    """An RFC 3339 time, or None when there is none or it cannot be read."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def span(seconds: float) -> str:
    """A length of time in at most two units: `45s`, `3m20s`, `5h10m`, `12d`."""
    total = int(max(seconds, 0))
    if total < 120:
        return f"{total}s"
    if total < 3600:
        return f"{total // 60}m{total % 60:02d}s" if total < 600 else f"{total // 60}m"
    if total < 86400:
        return f"{total // 3600}h{total % 3600 // 60:02d}m"
    return f"{total // 86400}d{total % 86400 // 3600}h" if total < 864000 else f"{total // 86400}d"


def age(text: str | None, now: datetime | None = None) -> str:
    """How long ago an RFC 3339 time was."""
    found = when(text)
    return span(((now or datetime.now(UTC)) - found).total_seconds()) if found else "-"


def until(text: str | None, now: datetime | None = None) -> str:
    """How long until an RFC 3339 time."""
    found = when(text)
    return span((found - (now or datetime.now(UTC))).total_seconds()) if found else "-"
