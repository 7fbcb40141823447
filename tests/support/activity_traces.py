"""Traces of what happens in a server, as the agent sees it every ten seconds, with the truth about when it works."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SAMPLE_SECONDS = 10
HOUR = 3600
EDITOR_BYTES = (1800, 2500)
EDITOR_MILLICORES = (9, 37)
"""Each ten seconds, of a code-server that is left open with a file and a terminal (docs/guides/activity.md)."""


@dataclass
class Sample:
    """What the agent can read at one time."""

    at: float
    terminal_input: bool = False
    ssh_bytes: int = 0
    connected: bool = False
    cpu_millicores: int = 2
    gpu_percent: int | None = None
    unreadable: bool = False

    def message(self) -> dict[str, object]:
        """The line for the agent's replay program."""
        return {
            "at": self.at,
            "terminalInput": self.terminal_input,
            "sshBytes": self.ssh_bytes,
            "connected": self.connected,
            "cpuMillicores": self.cpu_millicores,
            "gpuPercent": self.gpu_percent,
            "unreadable": self.unreadable,
        }


@dataclass
class Trace:
    """A trace and what is true of it."""

    name: str
    samples: list[Sample]
    works_until: float | None
    """Seconds: until then something is at work with pauses shorter than the timeout; None: to the end, or unknown."""
    agent_dies_at: float | None = None
    clock_jumps_at: float | None = None
    """When the operator's clock is set five minutes ahead."""
    measured: bool = True
    """False for work that no source measures, so that the server counts as idle all along (docs/guides/activity.md)."""


def traces(seed: int = 7) -> list[Trace]:
    """All traces, the same for the same seed."""
    source = random.Random(seed)
    return [
        _trace("editor left open", 4 * HOUR, HOUR / 2, _typing(source), _editor(source)),
        _trace("detached training", 8 * HOUR, 6 * HOUR, lambda sample: setattr(sample, "cpu_millicores", 900)),
        _trace("build", 3 * HOUR, HOUR, lambda sample: setattr(sample, "cpu_millicores", source.randint(1200, 2000))),
        _trace("download over SSH", 5 * HOUR, 3 * HOUR, _download_over_ssh),
        _unmeasured(_trace("detached download", 5 * HOUR, 3 * HOUR, _detached_download)),
        _trace("a person who thinks for 30 minutes", 6 * HOUR, 4 * HOUR, _thinking, _editor(source)),
        _trace(
            "GPU busy and CPU idle", 6 * HOUR, 4 * HOUR, lambda sample: setattr(sample, "gpu_percent", 80), _gpu_idle
        ),
        _with(_trace("agent dead", 6 * HOUR, None, _typing(source)), agent_dies_at=HOUR),
        _with(_trace("a source that can't be read", 4 * HOUR, None, _unreadable)),
        _with(_trace("clock five minutes off", 4 * HOUR, 2 * HOUR, _typing(source)), clock_jumps_at=2.8 * HOUR),
    ]


def _trace(
    name: str,
    seconds: float,
    works_until: float | None,
    work: Callable[[Sample], None],
    rest: Callable[[Sample], None] = lambda sample: None,
) -> Trace:
    samples = []
    for at in _times(seconds):
        sample = Sample(at)
        rest(sample)
        if works_until is None or at <= works_until:
            work(sample)
        samples.append(sample)
    return Trace(name, samples, works_until)


def _with(trace: Trace, agent_dies_at: float | None = None, clock_jumps_at: float | None = None) -> Trace:
    trace.agent_dies_at, trace.clock_jumps_at = agent_dies_at, clock_jumps_at
    return trace


def _unmeasured(trace: Trace) -> Trace:
    trace.measured = False
    return trace


def _times(seconds: float) -> Iterator[float]:
    return (float(at) for at in range(0, int(seconds) + 1, SAMPLE_SECONDS))


def _typing(source: random.Random) -> Callable[[Sample], None]:
    def work(sample: Sample) -> None:
        sample.connected = True
        # The last sample of the work, which is at a whole minute, has input.
        if sample.at % 60 == 0 or source.random() < 0.2:
            sample.terminal_input, sample.ssh_bytes = True, source.randint(200, 4000)

    return work


def _editor(source: random.Random) -> Callable[[Sample], None]:
    def rest(sample: Sample) -> None:
        sample.connected = True
        sample.ssh_bytes, sample.cpu_millicores = source.randint(*EDITOR_BYTES), source.randint(*EDITOR_MILLICORES)

    return rest


def _download_over_ssh(sample: Sample) -> None:
    """Files that are copied out of the server by scp or rsync: the bytes are those of an SSH connection."""
    sample.connected, sample.ssh_bytes, sample.cpu_millicores = True, 20_000, 4


def _detached_download(sample: Sample) -> None:
    """A slow `wget` in tmux that nobody is connected to: its bytes are on no SSH connection."""
    sample.cpu_millicores = 4


def _thinking(sample: Sample) -> None:
    """A line is typed every half hour; the last one is at the end of the work."""
    sample.connected = True
    sample.terminal_input = sample.at % (HOUR / 2) == 0


def _gpu_idle(sample: Sample) -> None:
    sample.gpu_percent, sample.cpu_millicores = 0, 5


def _unreadable(sample: Sample) -> None:
    sample.unreadable = True
