"""Stop, start and extension of a server on the real node, and the memory of its agent.

A bare pod with the server's image and resources is created and deleted in turn with the server's start and stop.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from statistics import median

from devservers_core.names import LABEL_NAME, MAIN_CONTAINER
from devservers_core.types import Json
from tests.bench.figure import Figure
from tests.support.node.agent_memory import agent_memory_mib
from tests.support.node.lifetimes import time_left
from tests.support.node.person import BIN, Person

RUNS = 5
STOP_BOUND, START_BOUND = 1.5, 2.0
"""Of the ratio to a bare pod's."""
EXTEND_BOUND = 1.0
"""Seconds."""
MEMORY_BOUND = 10.0
"""MiB."""
EXTENSION = timedelta(minutes=30)
EXTEND_PATIENCE_SECONDS = 60.0
IDLE_SECONDS = 120.0
BARE, BARE_NAMESPACE = "bare-life", "default"
_ENDS_AT_ONCE = ["bash", "-c", "trap 'exit 0' TERM; sleep 86400 & wait"]
"""A shell that is the first process of a pod ignores SIGTERM unless it catches it."""
_SHOW_STATUS = "while :; do devserver status | grep '^stop'; sleep 0.05; done"
"""The first plan reaches a new server within a minute; before it there is no such line."""


class StatusError(RuntimeError):
    """The server's own status could not be followed."""


def stop_and_start(ann: Person) -> list[Figure]:
    """The rows stop_to_gone and start_to_ssh."""
    taken: dict[str, list[float]] = {"gone": [], "ready": [], "bare gone": [], "bare ready": []}
    with _server(ann, "life") as name:
        bare = _bare(_pod(ann, name))
        for _ in range(RUNS + 1):
            for key, act in (
                ("bare ready", lambda: _create_bare(ann, bare)),
                ("gone", lambda: _stop(ann, name)),
                ("bare gone", lambda: _delete_bare(ann)),
                ("ready", lambda: _start(ann, name)),
            ):
                taken[key].append(_seconds(act))
    medians = {key: median(values[1:]) for key, values in taken.items()}  # the first turn warms up
    return [
        Figure("stop_to_gone", medians["gone"], "s", medians["bare gone"], bound=STOP_BOUND, runs=RUNS),
        Figure("start_to_ssh", medians["ready"], "s", medians["bare ready"], bound=START_BOUND, runs=RUNS),
    ]


def extend_seconds(ann: Person) -> Figure:
    """`devctl extend` until the server's status has the new end and `devserver status` in the server shows it."""
    with _server(ann, "longer", "--time", "2h") as name, _status_lines(ann, name) as left:
        taken = [_extend(ann, name, left) for _ in range(RUNS)]
    return Figure("extend_seconds", median(taken), "s", bound=EXTEND_BOUND, runs=RUNS)


def agent_memory(ann: Person) -> Figure:
    """The memory of the agent in a server that nobody has used for two minutes."""
    with _server(ann, "quiet") as name:
        time.sleep(IDLE_SECONDS)
        return Figure("agent_memory", agent_memory_mib(ann, name), "MiB", bound=MEMORY_BOUND)


@contextmanager
def _server(ann: Person, name: str, *options: str) -> Iterator[str]:
    """A running server, until the block ends."""
    ann.devctl("create", name, *options, "--wait", "3m")
    try:
        yield name
    finally:
        ann.devctl("delete", name, "--yes", "--purge")
        ann.platform.cluster.kubectl("delete", "pod", BARE, "-n", BARE_NAMESPACE, "--ignore-not-found", "--now")


def _seconds(act: Callable[[], None]) -> float:
    begin = time.monotonic()
    act()
    return time.monotonic() - begin


def _pod(ann: Person, name: str) -> Json:
    (pod,) = ann.platform.get("pods", "-n", ann.namespace, "-l", f"{LABEL_NAME}={name}")["items"]
    found: Json = pod
    return found


def _bare(pod: Json) -> Json:
    """A pod with the image and the resources of a server's."""
    main = next(container for container in pod["spec"]["containers"] if container["name"] == MAIN_CONTAINER)
    container = {
        "name": "bare",
        "image": main["image"],
        "imagePullPolicy": "IfNotPresent",
        "command": _ENDS_AT_ONCE,
        "resources": main["resources"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": BARE, "namespace": BARE_NAMESPACE},
        "spec": {"containers": [container], "automountServiceAccountToken": False},
    }


def _create_bare(ann: Person, pod: Json) -> None:
    kubectl = ann.platform.cluster.kubectl
    kubectl("create", "-f", "-", text=json.dumps(pod))
    kubectl("wait", f"pod/{BARE}", "-n", BARE_NAMESPACE, "--for=condition=Ready", "--timeout=60s")


def _delete_bare(ann: Person) -> None:
    kubectl = ann.platform.cluster.kubectl
    kubectl("delete", "pod", BARE, "-n", BARE_NAMESPACE, "--wait=false")
    kubectl("wait", f"pod/{BARE}", "-n", BARE_NAMESPACE, "--for=delete", "--timeout=120s")


def _stop(ann: Person, name: str) -> None:
    ann.devctl("stop", name)
    selector = f"-l{LABEL_NAME}={name}"
    ann.platform.cluster.kubectl("wait", "pod", "-n", ann.namespace, selector, "--for=delete", "--timeout=120s")


def _start(ann: Person, name: str) -> None:
    ann.devctl("start", name)
    ann.ssh(name, "true")  # which waits for the server


@contextmanager
def _status_lines(ann: Person, name: str) -> Iterator[Callable[[], timedelta]]:
    """Follows `devserver status` in the server; gives what reads the next time to the stop that it shows."""
    with _devctl(ann, "ssh", name, "--", _SHOW_STATUS) as process:
        lines = process.stdout
        assert lines is not None

        def left() -> timedelta:
            line = lines.readline()
            shown = time_left(line)
            if shown is None:
                raise StatusError(f"the server shows no end: {line!r}")
            return shown

        try:
            yield left
        finally:
            process.terminate()


def _extend(ann: Person, name: str, left: Callable[[], timedelta]) -> float:
    """The seconds until an extension stands in the server's status and in the server itself."""
    before = left()
    begin = time.monotonic()
    minutes = f"{int(EXTENSION.total_seconds() // 60)}m"
    with _devctl(ann, "extend", name, minutes) as process:
        while left() < before + EXTENSION / 2:
            if time.monotonic() - begin > EXTEND_PATIENCE_SECONDS:
                raise StatusError(f"the server does not show that it was extended by {minutes}")
        code = process.wait(EXTEND_PATIENCE_SECONDS)  # it ends when the status has the new end
        taken = time.monotonic() - begin
    if code != 0:
        raise StatusError(f"`devctl extend {name} {minutes}` gave {code}")
    return taken


def _devctl(ann: Person, *arguments: str) -> subprocess.Popen[str]:
    env = ann.platform.env | {"PATH": f"{BIN}:{ann.platform.env['PATH']}"}
    command = [str(BIN / "devctl"), *arguments]
    return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
