"""Shows the progress of a start or a stop on standard error.

On a terminal it is redrawn in place; otherwise each change is one line.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from devctl.output import console


@dataclass
class Progress:
    """The state of a wait at one moment."""

    name: str
    started: float
    done: list[tuple[str, float | None]] = field(default_factory=list)
    phase: str = "Pending"
    reason: str | None = None
    doing: str = "starting"
    goal: str = "Running"

    @property
    def seconds(self) -> float:
        """Seconds since the wait began."""
        return time.monotonic() - self.started


def stage_line(stage: str, took: float | None) -> str:
    """One line for a finished stage."""
    return f"{stage:<18}{took:7.1f}s" if took is not None else stage


class LineDisplay:
    """Prints one line for each change, for pipes and logs."""

    def __init__(self) -> None:
        self._shown = 0
        self._reason: str | None = None

    def show(self, progress: Progress) -> None:
        """Print the stages and reasons that are new."""
        if len(progress.done) < self._shown:
            self._shown = 0  # a new pod: the timeline began anew
        for stage, took in progress.done[self._shown :]:
            console.info("  " + stage_line(stage, took))
        self._shown = len(progress.done)
        if progress.reason and progress.reason != self._reason:
            console.info(f"  {progress.phase}: {progress.reason}")
        self._reason = progress.reason


@contextmanager
def display() -> Iterator[Callable[[Progress], None]]:
    """Yields a function that shows a Progress on standard error."""
    if not console.use_colour(sys.stderr):
        yield LineDisplay().show
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

    terminal = Console(stderr=True, highlight=False)
    spinner = Spinner("dots")
    with Live(console=terminal, refresh_per_second=8, transient=False) as live:

        def show(progress: Progress) -> None:
            """Print the stages and reasons that are new."""
            parts: list[Text | Spinner] = []
            for stage, took in progress.done:
                parts.append(Text.assemble(("✓ ", "green"), stage_line(stage, took)))
            if progress.phase == progress.goal and progress.reason is None:
                live.update(Group(*parts))
                return
            text = Text(f"{progress.phase:<18}{progress.seconds:7.1f}s")
            if progress.reason:
                text.append("  " + progress.reason, style="yellow")
            spinner.update(text=text)
            live.update(Group(*parts, spinner))

        yield show
