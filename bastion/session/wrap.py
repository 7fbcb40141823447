"""Breaks lines at words for a terminal's width.

Its own few lines instead of textwrap, whose import every prompt would keep in memory.
"""

from __future__ import annotations

SMALLEST = 20
"""Columns below which nothing is broken: such a terminal shows nothing well."""


def wrap(text: str, width: int) -> str:
    """The text with no line longer than `width` where words allow it.

    A line goes on below its own second column.
    """
    return "\n".join(part for line in text.split("\n") for part in _line(line, width))


def _line(line: str, width: int) -> list[str]:
    if len(line) <= width or width < SMALLEST:
        return [line]
    indent = _indent(line)
    if indent > width // 2:
        indent = len(line) - len(line.lstrip())
    lines, current = [], line[:indent]
    for word in line[indent:].split(" "):
        joined = current + (" " if current.strip() and not current.endswith("  ") else "") + word
        if current.strip() and len(joined) > width and len(current) > indent:
            lines.append(current.rstrip())
            current = " " * indent + word
        else:
            current = joined
    return [*lines, current.rstrip()]


def _indent(line: str) -> int:
    """Where the second column begins, else the first."""
    start = len(line) - len(line.lstrip())
    gap = line.find("  ", start)
    if gap < 0:
        return start
    return gap + len(line[gap:]) - len(line[gap:].lstrip())
