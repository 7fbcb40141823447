"""Compares a user's own platform before and after a run of the test suite.

`python -m tests.support.own_platform` uses the platform of its environment's state folder, which `make up` started. It
makes a person with a server, keeps two of their sessions open, prints "watching", and compares when a line comes in.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster.cluster import Cluster
from devcluster.node import process
from devservers_core.paths import Paths
from tests.support.node.laptop import Laptop, add, await_success, read_until
from tests.support.node.machine import Machine
from tests.support.node.person import Platform

PERSON, SERVER = "beside", "kept"
MOVING = ("Node", "Lease", "Event", "EndpointSlice", "Endpoints")
"""Kinds that Kubernetes writes to while nobody does anything: of these the uid alone has to stay."""
CONTROLLERS = ("devservers-system", "kueue-system")
"""Namespaces of controllers, which end themselves and start anew when a busy machine costs them their lease: of what is
in them the uid alone has to stay. Nobody's server or session is in them."""
CONTROLLER_PROGRAMS = ("operator", "manager")
"""The processes that end so."""
SHORT_LIVED = ("Lease", "Event")
"""Kinds whose objects come and go by themselves."""
_QUIET_SECONDS = 10.0
"""Without a change for that long the platform has settled."""


@dataclass(frozen=True)
class Snapshot:
    """A platform at one moment: its objects by kind and name, and its processes by id."""

    objects: Mapping[str, tuple[str, ...]]
    processes: Mapping[int, tuple[str, str]]

    @classmethod
    def now(cls, cluster: Cluster) -> Snapshot:
        """Look at everything that can be listed, and at every process in the node."""
        kinds = cluster.kubectl("api-resources", "--verbs=list,get", "-o", "name").split()
        items = json.loads(cluster.kubectl("get", ",".join(sorted(kinds)), "-A", "-o", "json"))["items"]
        found = {pid: process.read(pid) for pid in cluster.processes()}
        return cls(
            {_name(each): _identity(each) for each in items if each["kind"] not in SHORT_LIVED},
            {pid: (_program(pid, each.name), each.started) for pid, each in found.items() if each is not None},
        )

    def settled(self, later: Snapshot) -> Snapshot:
        """What is the same in both: processes that come and go are nobody's work."""
        kept = {pid: mine for pid, mine in self.processes.items() if later.processes.get(pid) == mine}
        return Snapshot(later.objects, kept)

    def lost(self, after: Snapshot) -> list[str]:
        """What was here before and is another thing, or nothing, afterwards; and objects that came."""
        found = []
        for name, before in self.objects.items():
            if (now := after.objects.get(name)) != before:
                found.append(f"{name}: {before} became {now}")
        found += [f"{name} came" for name in after.objects if name not in self.objects]
        for pid, mine in self.processes.items():
            if after.processes.get(pid) != mine and mine[0] not in CONTROLLER_PROGRAMS:
                found.append(f"process {mine[0]} ({pid}) ended")
        return found


def _program(pid: int, name: str) -> str:
    """A process's program; of Python's, which the bastion's are as well, the operator by its command line."""
    try:
        return "operator" if b"devservers.runtime" in Path(f"/proc/{pid}/cmdline").read_bytes() else name
    except OSError:
        return name


def _name(item: Mapping[str, Any]) -> str:
    metadata = item["metadata"]
    return f"{item['kind']}.{item['apiVersion']} {metadata.get('namespace', '')}/{metadata['name']}"


def _identity(item: Mapping[str, Any]) -> tuple[str, ...]:
    metadata = item["metadata"]
    if item["kind"] in MOVING or metadata.get("namespace") in CONTROLLERS:
        return (str(metadata.get("uid", "")),)
    return tuple(str(metadata.get(key, "")) for key in ("uid", "generation", "resourceVersion"))


class Sessions:
    """Two open sessions of one person: a prompt at the bastion, and a program on their server."""

    def __init__(self, prompt: subprocess.Popen[str], inside: subprocess.Popen[str]) -> None:
        self._prompt = prompt
        self._inside = inside

    def lost(self) -> list[str]:
        """Which of them no longer answer."""
        found = []
        try:
            _say(self._prompt, "version\r")
            read_until(self._prompt, "devctl 0", 30)
        except (AssertionError, OSError) as error:
            found.append(f"the prompt at the bastion: {error}")
        try:
            _say(self._inside, "still here\n")
            read_until(self._inside, "still here", 30)
        except (AssertionError, OSError) as error:
            found.append(f"the session on the server: {error}")
        return found


def _say(session: subprocess.Popen[str], text: str) -> None:
    assert session.stdin is not None
    session.stdin.write(text)
    session.stdin.flush()


@contextmanager
def sessions(platform: Platform, folder: Path) -> Iterator[Sessions]:
    """A person with a server, and their sessions, all by the bastion."""
    laptop = Laptop(folder, platform, PERSON)
    add(platform, laptop)
    await_success(lambda: laptop.ssh("devctl", "list", check=False), "the person's first login", 60)
    laptop.ssh("devctl", "create", SERVER, "--wait", "3m")
    config = str(laptop.config(SERVER))
    with ExitStack() as stack:
        prompt = stack.enter_context(laptop.session())
        read_until(prompt, "devctl>", 30)
        inside = stack.enter_context(
            subprocess.Popen(
                ["ssh", "-F", config, SERVER, "cat"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(inside.kill)
        opened = Sessions(prompt, inside)
        if lost := opened.lost():
            raise RuntimeError("; ".join(lost))
        yield opened


def quiet(cluster: Cluster, seconds: float = 120) -> Snapshot:
    """The platform once nothing of it changes any more."""
    deadline = time.monotonic() + seconds
    before = Snapshot.now(cluster)
    while True:
        time.sleep(_QUIET_SECONDS)
        after = Snapshot.now(cluster)
        if before.objects == after.objects:
            return before.settled(after)
        assert time.monotonic() < deadline, f"it never settles: {before.lost(after)[:5]}"
        before = after


def main() -> int:
    """Watch until a line comes; 1 when something of the platform was lost or changed."""
    paths = Paths.of(os.environ)
    platform = Platform(dict(os.environ), Cluster(paths.node), Machine.now())
    with tempfile.TemporaryDirectory(prefix="devservers-beside-") as name, sessions(platform, Path(name)) as opened:
        before = quiet(platform.cluster)
        print("watching", flush=True)
        sys.stdin.readline()
        after = Snapshot.now(platform.cluster)
        lost = [*opened.lost(), *before.lost(after)]
    for each in lost:
        print(f"lost beside the test suite: {each}", file=sys.stderr)
    if not lost:
        count = f"{len(before.objects)} objects, {len(before.processes)} processes and 2 sessions"
        print(f"the platform beside the test suite kept {count}", file=sys.stderr)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
