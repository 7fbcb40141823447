"""The last runs of a stopped server, as the record of its end has them.

Invariant: the record comes from what ran in the server: only known fields of known sizes are shown.
"""

from __future__ import annotations

import json
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from devctl.output import tables, times
from devctl.output.console import echo
from devctl.resources.lifecycle import ended
from devctl.resources.runs.reference import is_run_name
from devservers_core.protocol.agent.report import MAX_RUNS
from devservers_core.times import LATEST

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json

_STATES = ("ended", "lost")
_NOT_KEPT = ("argv", "dir", "env", "share", "torchrun", "processes")
"""What a run of a running server has besides, and the record doesn't."""


def kept_runs(context: Context, server: Json) -> list[Json]:
    """The last runs of a server that was stopped, the newest first; empty where none were kept."""
    record = ended.read_record(context, server["metadata"]["name"])
    if record is None or not ended.is_about(record, server):
        return []
    try:
        runs = json.loads((record.get("data") or {}).get("runs") or "[]")
    except ValueError:
        return []
    return [run for run in runs[:MAX_RUNS] if _is_run(run)] if isinstance(runs, list) else []


def print_runs(runs: list[Json], output: str) -> None:
    """Print runs in a format of `devctl runs`."""
    if output == "name":
        for run in runs:
            echo(run["name"])
    elif output in ("json", "yaml"):
        echo(tables.to_json([_document(run) for run in runs]).rstrip("\n"))
    else:
        rows = [(run["name"], _state(run), str(run["started"]), times.duration(run["seconds"])) for run in runs]
        tables.table(("RUN", "STATE", "STARTED", "TOOK"), rows)


def _document(run: Json) -> Json:
    """A run with the fields that `devserver runs -o json` has for it, null for what isn't kept."""
    started = times.parse_time(run["started"])
    assert started is not None, "only runs with a time are read"
    at_end = (started + min(timedelta(seconds=run["seconds"]), LATEST - started)).astimezone(UTC)
    return {
        "name": run["name"],
        **dict.fromkeys(_NOT_KEPT),
        "state": run["state"],
        "started": run["started"],
        "ended": at_end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "exitCode": run["exitCode"],
        "canceled": run.get("canceled") is True,
    }


def _state(run: Json) -> str:
    if run["state"] == "lost":
        return "lost"
    if run.get("canceled") is True:
        return f"canceled (exit {run['exitCode']})"
    return f"failed (exit {run['exitCode']})" if run["exitCode"] else "succeeded"


def _is_run(run: object) -> bool:
    if not isinstance(run, dict):
        return False
    numbers = (run.get("exitCode"), run.get("seconds"))
    return (
        is_run_name(run.get("name"))
        and run.get("state") in _STATES
        and all(isinstance(number, int) and 0 <= number < 2**40 for number in numbers)
        and isinstance(run.get("started"), str)
        and times.parse_time(run["started"]) is not None
    )
