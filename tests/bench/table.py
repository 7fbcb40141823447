"""The table of a bench run: figures, and reasons for those that are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.bench.figure import HEADER, Figure

_REASON_LENGTH = 300


@dataclass(frozen=True)
class FailedFigure:
    """A figure that could not be taken."""

    name: str
    reason: str

    def record(self) -> dict[str, Any]:
        """The entry of ``.bench/results.json``: no value, so that an older one is never taken for this run's."""
        return {"name": self.name, "value": None, "failed": self.reason}

    def line(self) -> str:
        """The line of the table."""
        return f"{self.name:<26}{'failed':>10}  {self.reason}"


@dataclass
class Table:
    """Collects figures; ``only`` is the one that is asked for, or empty for all.

    Invariant: a figure that fails takes no other figure with it.
    """

    only: str = ""
    rows: dict[str, Figure | FailedFigure] = field(default_factory=dict)

    def wants(self, names: Sequence[str]) -> bool:
        """Whether any of these is asked for."""
        return any(self._wanted(name) for name in names)

    def take(self, names: Sequence[str], measure: Callable[[], Figure | Sequence[Figure]]) -> None:
        """Measure the figures of these names, if any of them is asked for; those measured with it are shown too."""
        if self.wants(names):
            with self.group(names):
                found = measure()
                self.rows |= {each.name: each for each in ((found,) if isinstance(found, Figure) else found)}
                if missing := [name for name in names if self._wanted(name) and name not in self.rows]:
                    raise RuntimeError(f"not measured: {', '.join(missing)}")

    @contextmanager
    def group(self, names: Sequence[str]) -> Iterator[None]:
        """Figures that share a set-up: when the block fails, those of ``names`` that were not taken fail with it."""
        try:
            yield
        except Exception as error:
            for name in names:
                if self._wanted(name):
                    self.rows.setdefault(name, FailedFigure(name, _reason(error)))

    @property
    def met(self) -> bool:
        """Whether every figure was taken and every bound is kept."""
        return all(isinstance(row, Figure) and row.met for row in self.rows.values())

    def text(self) -> str:
        """The table as a person reads it."""
        return "\n".join([HEADER, *(row.line() for row in self.rows.values())])

    def _wanted(self, name: str) -> bool:
        return not self.only or name == self.only or name.startswith(f"{self.only}_")


def _reason(error: Exception) -> str:
    """An error in one line, its end first when it is long: that is where programs say why.

    An error that came up while another one was handled, as in a clean-up, stands behind that one.
    """
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        chain.insert(0, cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    text = "; then ".join(" ".join(f"{type(each).__name__}: {each}".split()) for each in chain)
    return text if len(text) <= _REASON_LENGTH else f"{text[:100]} ... {text[100 - _REASON_LENGTH :]}"
