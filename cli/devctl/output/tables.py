"""Tables, JSON, YAML and names of objects.

Tables are laid out here and not with rich, whose import takes longer than a whole `devctl list`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from devctl.output.console import echo, paint, printable
from devservers_core.types import Json

Row = Sequence[str]


def table(
    header: Row,
    rows: Sequence[Row],
    colour: Callable[[int, str], str | None] | None = None,
    *,
    whole: bool = False,
) -> None:
    """Print an aligned table; `colour(column, cell)` may name a colour for a cell.

    On a terminal it is fitted into the width, unless it is to be `whole`.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    if not whole and sys.stdout.isatty():
        import shutil

        before = list(header)
        header, rows = fit(header, rows, shutil.get_terminal_size().columns)
        if colour is not None and len(header) < len(before):
            indices, original = [before.index(name) for name in header], colour
            colour = lambda at, cell: original(indices[at], cell)  # noqa: E731
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for number, row in enumerate([header, *rows]):
        cells = []
        for i, cell in enumerate(row):
            padded = cell if i == len(row) - 1 else cell.ljust(widths[i])
            name = "dim" if number == 0 else (colour(i, cell) if colour else None)
            cells.append(paint(padded, name) if name else padded)
        echo("   ".join(cells).rstrip())


GAP = 3
"""Spaces between two columns."""
MIN_COLUMN = 12
"""Width below which the last column is not cut."""


def fit(header: Row, rows: Sequence[Row], width: int) -> tuple[list[str], list[list[str]]]:
    """Fit a table into `width` columns: cut the last column, then drop others.

    They go from the right; the first two and the last stay, whatever the width.
    """
    columns = [[name, *(row[at] for row in rows)] for at, name in enumerate(header)]
    widths = [max(map(len, column)) for column in columns]
    while len(columns) > 3 and sum(widths[:-1]) + GAP * (len(columns) - 1) + min(widths[-1], MIN_COLUMN) > width:
        del columns[-2], widths[-2]
    room = max(width - sum(widths[:-1]) - GAP * (len(columns) - 1), MIN_COLUMN)
    columns[-1] = [cell if len(cell) <= room else cell[: room - 1].rstrip() + "…" for cell in columns[-1]]
    lines = [list(line) for line in zip(*columns, strict=True)]
    return lines[0], lines[1:]


def to_yaml(document: Any) -> str:  # noqa: ANN401 - any JSON value
    """YAML with keys in their own order."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(document, Dumper=dumper, sort_keys=False, default_flow_style=False, allow_unicode=True))


def to_json(document: Any) -> str:  # noqa: ANN401 - any JSON value
    """Indented JSON."""
    return json.dumps(document, indent=2, ensure_ascii=False)


def print_objects(output: str, document: Json, kind: str) -> bool:
    """Print an object or a v1 List as json, yaml or name; return False for other formats.

    `name` prints `kind/NAME` per object.
    """
    if output == "json":
        echo(to_json(document))
    elif output == "yaml":
        sys.stdout.write(to_yaml(document))
    elif output == "name":
        for item in document.get("items", [document]):
            echo(f"{kind}/{item['metadata']['name']}")
    else:
        return False
    return True


def as_list(items: list[Json], api_version: str, kind: str) -> Json:
    """Objects as a v1 List, each with apiVersion and kind, which the API leaves out in lists."""
    return {
        "apiVersion": "v1",
        "kind": "List",
        "metadata": {},
        "items": [{"apiVersion": api_version, "kind": kind, **item} for item in items],
    }
