"""Writes generations of account files and puts one of them in force.

Invariant: a reader never sees half a state: a generation is a whole folder, and one rename puts it in force.

Generations that nobody will open any more are removed; the one before the present stays, for whoever had resolved
the link just before it changed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bastion.accounts.render import Rendered
from bastion.paths import STATE_FILE, Paths

STALE_AFTER = timedelta(minutes=5)
_PREFIX = "generation-"


@dataclass(frozen=True)
class State:
    """The accounts in force.

    `synced_at` is when the cluster last confirmed them.
    """

    generation: int
    synced_at: datetime
    accounts: int
    refused: str | None = None
    """Why a newer list was not applied."""
    problems: tuple[str, ...] = ()

    def stale(self, now: datetime) -> bool:
        """Whether the cluster has been silent for more than five minutes: logins still work, with a warning."""
        return now - self.synced_at > STALE_AFTER

    def text(self) -> str:
        """As the file has it."""
        shown = asdict(self) | {"synced_at": f"{self.synced_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"}
        return json.dumps({_camel(key): value for key, value in shown.items()}) + "\n"


def read_state(paths: Paths) -> State | None:
    """The state in force, None when nothing was ever written."""
    try:
        state = json.loads((paths.current / STATE_FILE).read_text())
        return State(
            int(state["generation"]),
            datetime.fromisoformat(state["syncedAt"]),
            int(state["accounts"]),
            state.get("refused"),
            tuple(state.get("problems") or ()),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Store:
    """Writes generations; there must be one writer only."""

    def __init__(self, paths: Paths, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._paths = paths
        self._now = now
        self.state = read_state(paths)
        self._written: dict[str, str] | None = None

    def put(self, rendered: Rendered, *, listed: bool = False) -> State:
        """Put `rendered` in force, and say what is in force now.

        `listed` says that this follows from a list rather than from single changes. A list without anybody after
        one with somebody is refused: it is what a broken API server or a lost CRD looks like, and locking
        everybody out is worse than being late with the last one. A deletion seen as such is obeyed.

        Raises OSError when it can't be written; what was in force stays so, and the next call tries again.
        """
        if listed and not rendered.accounts and self.state and self.state.accounts:
            refused = f"the cluster lists no accounts, there were {self.state.accounts}; the old ones stay in force"
            return self._note(rendered, refused)
        files = dict(rendered.files)
        if files == self._written:
            return self._note(rendered, None)
        generation = self.state.generation + 1 if self.state else 1
        state = State(generation, self._now(), rendered.accounts, None, rendered.problems[:100])
        folder = self._paths.accounts / f"{_PREFIX}{generation}"
        shutil.rmtree(folder, ignore_errors=True)  # of a writer that was killed before its rename
        try:
            (folder / "keys").mkdir(parents=True)
            for name, text in {**files, STATE_FILE: state.text()}.items():
                if not self._same(name, text, folder):
                    path = folder / name
                    path.write_text(text, encoding="ascii")
                    # Read by sshd as the person who logs in. There is no secret in any of them.
                    path.chmod(0o644)
            for each in (folder, folder / "keys"):
                each.chmod(0o755)
            self._link(folder)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self.state = state
        self._written = files
        self._remove_old(generation)
        return self.state

    def _same(self, name: str, text: str, folder: Path) -> bool:
        """Takes a file over from the generation in force when it says the same: one of many changes, and room is short.

        No file is ever written in place, so two generations may well share one.
        """
        if self._written is None or self._written.get(name) != text:
            return False
        with contextlib.suppress(OSError):
            os.link(self._paths.current.resolve() / name, folder / name)
            return True
        return False

    def confirm(self) -> None:
        """The cluster was heard of and nothing has changed."""
        if self.state:
            self._save(State(**{**asdict(self.state), "synced_at": self._now()}))

    def _note(self, rendered: Rendered, refused: str | None) -> State:
        assert self.state is not None, "something was in force before"
        problems = self.state.problems if refused else rendered.problems[:100]
        at = self.state.synced_at if refused else self._now()
        state = State(self.state.generation, at, self.state.accounts, refused, problems)
        self._save(state)
        return state

    def _save(self, state: State) -> None:
        partial = self._paths.accounts / f".{STATE_FILE}"
        partial.write_text(state.text(), encoding="ascii")
        partial.chmod(0o644)
        partial.replace(self._paths.current / STATE_FILE)
        self.state = state

    def _link(self, folder: Path) -> None:
        partial = self._paths.accounts / ".current"
        partial.unlink(missing_ok=True)
        partial.symlink_to(folder.name)
        partial.replace(self._paths.current)

    def _remove_old(self, generation: int) -> None:
        for folder in self._paths.accounts.glob(f"{_PREFIX}*"):
            with contextlib.suppress(ValueError):
                if int(folder.name.removeprefix(_PREFIX)) not in (generation, generation - 1):
                    shutil.rmtree(folder, ignore_errors=True)


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.title() for part in tail)
