"""Runs the Pulumi program without an engine and records its resource graph.

Invariant: the program is run as it is, as Pulumi's language host runs it; only the resource monitor is another one.

For tests, and for previews where the AWS plugins can't be installed.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Thread
from typing import Any
from unittest.mock import patch

import pulumi

from infra import PROJECT, ROOT
from infra.preview.dependency_check import DependencyCheck
from infra.preview.graph import Graph
from infra.preview.monitor import Callbacks, Engine, Monitor


@dataclass(frozen=True)
class Run:
    """What one run of the program registered, and its stack outputs."""

    graph: Graph
    outputs: dict[str, Any]


def run(config: Mapping[str, Any], env: Mapping[str, str], preview: bool = False, stack: str = "local") -> Run:
    """Runs infra/__main__.py as the engine would; raises what the program raises.

    ``config`` is without the project's prefix. With ``preview`` what AWS or Kubernetes would answer is unknown.
    """
    values = {
        f"{PROJECT}:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in config.items()
    }

    exported: list[str] = []

    def export(name: str, value: object) -> None:
        exported.append(name)
        pulumi_export(name, value)

    pulumi_export = pulumi.export

    def program() -> None:
        # As the language host hands the configuration to a program.
        environment = {**env, "PULUMI_CONFIG": json.dumps(values)}
        with patch.dict("os.environ", environment, clear=True), patch("pulumi.export", export):
            runpy.run_path(str(ROOT / "infra"), run_name="__main__")

    recorded = _recorded(program, preview, stack)
    # An output without a value is exported, and registered by nobody.
    return Run(recorded.graph, {name: recorded.outputs.get(name) for name in exported})


def record(build: Callable[[], None], preview: bool = False, stack: str = "dev") -> Graph:
    """The resources that ``build`` registers, run as in :func:`run`."""
    return _recorded(build, preview, stack).graph


def _recorded(program: Callable[[], None], preview: bool, stack: str) -> Run:
    monitor = Monitor(stack, preview)

    async def registered() -> None:
        program()
        # The runtime itself would wait for one task at a time, and look at all others each time.
        while pending := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(pending)

    async def main() -> None:
        settings = pulumi.runtime.Settings(PROJECT, stack, monitor=monitor, engine=Engine(), dry_run=preview)
        settings.callbacks = Callbacks()
        pulumi.runtime.configure(settings)
        await pulumi.runtime.run_in_stack(registered)

    # The runtime's settings are context variables: in a context of its own one run leaves nothing to the next.
    with DependencyCheck().installed():
        _in_thread(lambda: contextvars.copy_context().run(asyncio.run, main()))
    return Run(monitor.graph, monitor.outputs)


def _in_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread and raise what it raises.

    Pulumi's SDK describes the whole call stack for each resource, a quarter of a run's time below a test or a command;
    a thread's stack has nothing but the program's own calls.
    """
    raised: list[BaseException] = []

    def run_work() -> None:
        try:
            work()
        except BaseException as error:  # SystemExit of the program is the caller's too
            raised.append(error)

    # A daemon: after Ctrl-C nobody waits for the rest of the program.
    thread = Thread(target=run_work, name="program", daemon=True)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
