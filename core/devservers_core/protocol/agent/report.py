"""The report with which an agent answers a plan.

Invariant: a report is untrusted. What parse_report returns has only the types and sizes written here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from devservers_core.names import MAX_VOLUMES
from devservers_core.protocol import ProtocolError, printable
from devservers_core.protocol.agent.exchange import MAX_BYTES, MAX_REASON, MAX_SECONDS, VERSION
from devservers_core.protocol.agent.plan import Plan
from devservers_core.types import Json

MAX_LINES = 100
"""Of the last output that a report carries."""
MAX_WISHES = 8
MAX_SETUP_STEPS = 16
MAX_RUNS = 10
MAX_RUN_NAME = 63

SOURCES = ("terminal", "ssh", "cpu", "gpu")
"""What the agent measures activity by."""
LAST_SOURCES = (*SOURCES, "run", "hold", "start", "unknown")
"""What the last activity may have been."""
WISHES = ("extend", "hold", "release")
RUN_STATES = ("running", "ended", "lost")


@dataclass(frozen=True)
class Wish:
    """What somebody in the server asked for."""

    id: str
    kind: str
    seconds: int
    reason: str


@dataclass(frozen=True)
class VolumeUse:
    """How full a volume is."""

    path: str
    used_bytes: int
    size_bytes: int | None
    """None where the volume is a folder of a larger file system."""


@dataclass(frozen=True)
class SetupStep:
    """One step of the person's set-up at the start of the server."""

    step: str
    exit_code: int
    seconds: int


@dataclass(frozen=True)
class RunState:
    """A run of the server, as far as it is kept after the server was stopped."""

    name: str
    state: str
    exit_code: int
    canceled: bool
    started_ago: int
    """Seconds."""
    seconds: int
    """What it took, or has taken so far."""


@dataclass(frozen=True)
class Report:
    """What an agent says of its server."""

    counter: int
    idle_seconds: int | None
    """Since the last activity; None when a source can't be read, which counts as active."""
    source: str
    signals: Mapping[str, int] = field(default_factory=dict)
    """Seconds since the last activity of each source that the server has."""
    unreadable: tuple[str, ...] = ()
    wishes: tuple[Wish, ...] = ()
    oom_kills: int = 0
    volumes: tuple[VolumeUse, ...] = ()
    setup: tuple[SetupStep, ...] = ()
    runs: tuple[RunState, ...] = ()
    """The last ones, the newest first, in the answer to a final plan."""
    lines: tuple[str, ...] = ()


def parse_report(body: bytes, plan: Plan) -> Report:
    """The report in `body`, the answer to `plan`. Raises ProtocolError in one line when it isn't one.

    An answer to another plan or from another pod is refused, so that a report can't be replayed.
    """
    if len(body) > MAX_BYTES:
        raise ProtocolError(f"the report is larger than {MAX_BYTES} bytes")
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        raise ProtocolError("the report is not JSON") from None
    if not isinstance(message, dict):
        raise ProtocolError("the report is not a JSON object")
    if message.get("version") != VERSION:
        raise ProtocolError(f"the report has not version {VERSION}")
    if message.get("podUid") != plan.pod_uid:
        raise ProtocolError("the report is another pod's")
    if message.get("counter") != plan.counter:
        raise ProtocolError("the report answers another plan")
    unreadable = tuple(_choice(item, SOURCES, "unreadable") for item in _list(message, "unreadable", len(SOURCES)))
    idle = message.get("idleSeconds")
    return Report(
        counter=plan.counter,
        idle_seconds=None if idle is None or unreadable else _seconds(idle, "idleSeconds"),
        source=_choice(message.get("source"), LAST_SOURCES, "source"),
        signals={
            name: _seconds(value, "signals")
            for name, value in _object(message.get("signals") or {}, "signals").items()
            if name in SOURCES and value is not None
        },
        unreadable=unreadable,
        wishes=tuple(_wish(item) for item in _list(message, "wishes", MAX_WISHES)),
        oom_kills=_number(message.get("oomKills", 0), "oomKills", 1_000_000),
        volumes=tuple(_volume(item) for item in _list(message, "volumes", MAX_VOLUMES + 2)),
        setup=tuple(_step(item) for item in _list(message, "setup", MAX_SETUP_STEPS)),
        runs=tuple(_run(item) for item in _list(message, "runs", MAX_RUNS)),
        lines=tuple(_text(item, "lines", MAX_BYTES) for item in _list(message, "lines", MAX_LINES)),
    )


def _wish(item: object) -> Wish:
    wish = _object(item, "wishes")
    return Wish(
        id=_text(wish.get("id"), "wishes.id", 32),
        kind=_choice(wish.get("kind"), WISHES, "wishes.kind"),
        seconds=_seconds(wish.get("seconds", 0), "wishes.seconds"),
        reason=_text(wish.get("reason", ""), "wishes.reason", MAX_REASON),
    )


def _volume(item: object) -> VolumeUse:
    volume = _object(item, "volumes")
    size = volume.get("sizeBytes")
    return VolumeUse(
        path=_text(volume.get("path"), "volumes.path", 512),
        used_bytes=_number(volume.get("usedBytes"), "volumes.usedBytes", 2**60),
        size_bytes=None if size is None else _number(size, "volumes.sizeBytes", 2**60),
    )


def _step(item: object) -> SetupStep:
    step = _object(item, "setup")
    return SetupStep(
        step=_text(step.get("step"), "setup.step", 64),
        exit_code=_number(step.get("exitCode"), "setup.exitCode", 255),
        seconds=_seconds(step.get("seconds"), "setup.seconds"),
    )


def _run(item: object) -> RunState:
    run = _object(item, "runs")
    return RunState(
        name=_text(run.get("name"), "runs.name", MAX_RUN_NAME),
        state=_choice(run.get("state"), RUN_STATES, "runs.state"),
        exit_code=_number(run.get("exitCode", 0), "runs.exitCode", 255),
        canceled=run.get("canceled") is True,
        started_ago=_seconds(run.get("startedAgo"), "runs.startedAgo"),
        seconds=_seconds(run.get("seconds"), "runs.seconds"),
    )


def _list(message: Json, name: str, most: int) -> list[Any]:
    value = message.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > most:
        raise ProtocolError(f"the report's {name} is not a list of at most {most}")
    return value


def _object(value: object, name: str) -> Json:
    if not isinstance(value, dict):
        raise ProtocolError(f"the report's {name} is not an object")
    return value


def _seconds(value: object, name: str) -> int:
    return _number(value, name, MAX_SECONDS)


def _number(value: object, name: str, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ProtocolError(f"the report's {name} is not a whole number from 0 to {most}")
    return value


def _choice(value: object, choices: tuple[str, ...], name: str) -> str:
    if value not in choices:
        raise ProtocolError(f"the report's {name} is none of {', '.join(choices)}")
    return str(value)


def _text(value: object, name: str, most: int) -> str:
    """A bounded text as terminals may show it."""
    if not isinstance(value, str) or len(value) > most:
        raise ProtocolError(f"the report's {name} is not a text of at most {most} characters")
    return printable(value)
