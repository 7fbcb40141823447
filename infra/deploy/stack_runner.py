"""Runs Pulumi operations on one stack of this checkout by pulumi.automation.

Invariant: nothing in the checkout is written. The program and the stacks' files are used as they are: automation's
calls for stack settings are left alone, because they know nothing of `stackConfigDir` and would write
Pulumi.STACK.yaml at the top of the checkout.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

from pulumi import automation

from infra import ROOT
from infra.deploy.pulumi_cli import PulumiCli, Workspace
from infra.errors import InfraError

LOST_ENGINE = "Resource monitor has terminated, shutting down"
"""What Pulumi's Python SDK says when its connection to the engine breaks (runtime/resource.py).

Seen once in 25 updates of one run of the node tests, in the update's first second; the cause is not known.
"""


class PulumiError(InfraError):
    """A command of Pulumi failed; its own output says why."""


class EngineLostError(PulumiError):
    """The program lost its connection to the engine."""


class StackLockedError(PulumiError):
    """Another update holds the stack's lock, or one that was killed left it."""


@dataclass(frozen=True)
class Backend:
    """What differs from stack to stack in how Pulumi is run.

    ``work_dir`` is the folder of Pulumi.yaml.
    ``env`` stands for the process's environment. ``added`` is what Pulumi needs beside it: backend, PULUMI_HOME,
    passphrase, PATH. ``parallel`` limits the requests at a time, None for Pulumi's own limit. ``remedy`` is what
    to do when an operation fails.
    """

    program: Path
    env: Mapping[str, str]
    added: Mapping[str, str]
    parallel: int | None = None
    remedy: str = "fix what the message names and run the same command again"
    work_dir: Path = ROOT


@dataclass(frozen=True)
class Options:
    """Options of an operation: `--refresh`."""

    refresh: bool = False

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of automation's calls."""
        return {"refresh": self.refresh}


DEFAULTS = Options()


class StackRunner:
    """Runs up, preview, destroy, outputs and export of one stack; what Pulumi prints is shown as it comes."""

    def __init__(self, name: str, backend: Backend) -> None:
        self.name = name
        self._backend = backend

    def exists(self) -> bool:
        """Whether the backend has the stack."""
        with self._errors("stack ls"):
            return any(each.name.split("/")[-1] == self.name for each in self._workspace.list_stacks())

    def create(self) -> None:
        """Make the stack in the backend."""
        self.query("stack", "init", self.name, "--no-select")

    def preview(self, options: Options = DEFAULTS, policy_packs: Sequence[Path] = ()) -> None:
        """`pulumi preview`. Raises :class:`PulumiError`."""
        with self._errors("preview"):
            self._stack.preview(**self._shown(), **options.arguments(), policy_packs=_strings(policy_packs))

    def up(self, options: Options = DEFAULTS, policy_packs: Sequence[Path] = ()) -> dict[str, Any]:
        """`pulumi up` without a preview and without asking; gives the outputs that are no secrets.

        Raises :class:`PulumiError`.
        """
        with self._errors("up"):
            done = self._stack.up(
                **self._shown(),
                **options.arguments(),
                parallel=self._backend.parallel,
                policy_packs=_strings(policy_packs),
                show_secrets=False,
            )
        return {name: output.value for name, output in done.outputs.items() if not output.secret}

    def destroy(self) -> None:
        """`pulumi destroy` without asking. Raises :class:`PulumiError`."""
        with self._errors("destroy"):
            self._stack.destroy(**self._shown(), parallel=self._backend.parallel, show_secrets=False)

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, secrets masked; automation's own call would decrypt them."""
        return dict(json.loads(self.query("stack", "output", "--stack", self.name, "--json")))

    def export(self) -> dict[str, Any]:
        """The stack's state, secrets encrypted; automation's own call would decrypt them."""
        return dict(json.loads(self.query("stack", "export", "--stack", self.name)))

    def query(self, *arguments: str) -> str:
        """What a command of Pulumi prints. Raises :class:`PulumiError` with what it says on stderr."""
        with self._errors(" ".join(arguments[:2]), shown=False):
            done = self._workspace.pulumi_command.run(list(arguments), str(self._backend.work_dir), self._backend.added)
        return str(done.stdout)

    @cached_property
    def _workspace(self) -> Workspace:
        cli = PulumiCli(self._backend.program, self._backend.env)
        return Workspace(work_dir=str(self._backend.work_dir), pulumi_command=cli, env_vars=self._backend.added)

    @cached_property
    def _stack(self) -> automation.Stack:
        return automation.Stack.select(self.name, self._workspace)

    def _shown(self) -> dict[str, Any]:
        """The arguments that show what Pulumi prints, in colour on a terminal: Pulumi itself sees none."""
        coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        color = "always" if coloured else "never"
        return {"on_output": _writer(sys.stdout), "on_error": _writer(sys.stderr), "color": color}

    @contextmanager
    def _errors(self, command: str, *, shown: bool = True) -> Iterator[None]:
        """Turn automation's errors into :class:`PulumiError`; ``shown`` says that Pulumi's own output was."""
        try:
            yield
        except automation.ConcurrentUpdateError:
            raise StackLockedError(
                f"pulumi {command} failed: another update of stack {self.name} runs, or one was killed",
                f"wait for its end; when there is none, `pulumi cancel --stack {self.name}` takes its lock away",
            ) from None
        except automation.CommandError as error:
            stderr = str(error).rpartition("\n stderr: ")[2]
            # An operation's last step reads the outputs, and of that nothing was shown.
            lines = [line for line in _COLOR.sub("", stderr).splitlines() if line.startswith("error:") or not shown]
            reason = (", see above" if shown else "") + (
                f": {' '.join(' '.join(lines).split())[:400]}" if lines else ""
            )
            kind = EngineLostError if LOST_ENGINE in str(error) else PulumiError
            raise kind(f"pulumi {command} failed{reason}", self._backend.remedy) from None


_COLOR = re.compile(r"\x1b\[[0-9;]*m")


def _strings(paths: Sequence[Path]) -> list[str]:
    return [str(path) for path in paths]


def _writer(stream: TextIO) -> Any:  # noqa: ANN401  # automation's OnOutput
    def write(text: str) -> None:
        stream.write(text)
        stream.flush()

    return write
