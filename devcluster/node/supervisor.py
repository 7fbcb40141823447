"""The embedded node's first process: starts, restarts and ends its components.

It is PID 1 of a PID, mount and network namespace of its own. Whatever the cluster leaves behind (processes,
mounts, interfaces, packet filter rules) lives in those namespaces, so the kernel removes it all when this
process ends, however it ends. Run by :mod:`devcluster.cluster`, never by hand.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from devcluster.node.components import ETCD, ETCD_CLIENT, INSIDE, Component, Site, components

INSIDE_PATH = Path(INSIDE)
VOLUMES = INSIDE_PATH / "volumes"
LOG_LIMIT = 20 * 2**20
"""Bytes after which a component's log is begun anew at its next start; one older log is kept."""
BACKOFF = (0.2, 1.0, 2.0, 5.0, 10.0)
"""Seconds before a component is started again, by how often it died within a minute."""


def run(*argv: str) -> None:
    """Run a command of the node's own set-up; a failure ends the start, with the command's words in the log."""
    subprocess.run(argv, check=True)


def mounts(state: Path) -> None:
    """Give the node folders of its own where Kubernetes' paths are fixed, so that the machine's stay untouched."""
    run("mount", "--make-rshared", "/")  # among ourselves: unshare has already cut the tie to the machine
    run("mount", "-t", "tmpfs", "-o", "mode=0755", "node", "/run")
    INSIDE_PATH.mkdir()
    run("mount", "--bind", str(state), str(INSIDE_PATH))
    VOLUMES.mkdir(exist_ok=True)
    for folder in ("/tmp", "/var/lib", "/var/log"):
        # Read through to the machine's, written to memory.
        upper, work = (Path("/run/overlay") / kind / folder.strip("/") for kind in ("upper", "work"))
        upper.mkdir(parents=True)
        work.mkdir(parents=True)
        if folder == "/tmp":
            # kube-controller-manager's host-path provisioner has this path built in. Made here and not through the
            # mount: anybody on the machine may have put a symbolic link of that name into the real /tmp.
            (upper / "hostpath_pv").mkdir()
        options = f"lowerdir={folder},upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "overlay", "-o", options, folder)
    run("mount", "--bind", str(VOLUMES), "/tmp/hostpath_pv")


def open_volumes(folder: Path) -> None:
    """Let the pods write to new volumes.

    The host-path provisioner makes their folders for root only (mode 0750), and a kubelet applies no fsGroup to
    host paths. They lie below a state folder that only its owner may enter, and a pod sees no other volume.
    """
    for volume in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
            if volume.stat().st_mode & 0o777 == 0o750:
                volume.chmod(0o777)


def healthy(url: str) -> bool:
    """Whether a component answers at its health address."""
    if url.startswith("unix:"):
        return Path(url.removeprefix("unix:")).exists()
    # Loopback inside our own network namespace, no data sent: some components serve a certificate made at start.
    context = ssl._create_unverified_context() if url.startswith("https") else None
    try:
        if context and url.startswith(ETCD):
            # Nobody else asks for one, and the API server would refuse this one.
            context.load_cert_chain(*ETCD_CLIENT)
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


@dataclass
class Process:
    """A component and the process that runs it now."""

    component: Component
    pid: int = 0
    deaths: int = 0
    started: float = 0.0
    due: float = 0.0

    def start(self) -> None:
        """Start it with its output in its log."""
        log = INSIDE_PATH / "logs" / f"{self.component.name}.log"
        log.parent.mkdir(exist_ok=True)
        if log.exists() and log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as output:
            child = subprocess.Popen(
                self.component.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
            )
        self.pid, self.started = child.pid, time.monotonic()
        # PID 1 reaps every process itself (below); Popen must not look for this one.
        child.returncode = 0

    def died(self) -> None:
        """Note the end of the process and when it is to be started again."""
        now = time.monotonic()
        self.deaths = self.deaths + 1 if now - self.started < 60 else 0
        self.pid, self.due = 0, now + BACKOFF[min(self.deaths, len(BACKOFF) - 1)]


class Node:
    """Starts, watches and ends the components."""

    def __init__(self, parts: list[Component]) -> None:
        self.processes = [Process(part) for part in parts]
        self.ending = False
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.ending = True

    def reap(self) -> None:
        """Collect every process that ended: components, and orphans that became ours."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for process in self.processes:
                if process.pid == pid:
                    print(f"{process.component.name} ended with wait status {status}", flush=True)
                    process.died()

    def run(self) -> None:
        """Until told to end."""
        wait_for = {"kube-apiserver": "etcd", "kube-controller-manager": "kube-apiserver"}
        while not self.ending:
            self.reap()
            now = time.monotonic()
            blocked = False
            for process in self.processes:
                before = wait_for.get(process.component.name)
                if before and not process.started and not self._answers(before):
                    blocked = True  # the first start goes in order; a restart does not wait
                if not blocked and not process.pid and process.due <= now:
                    try:
                        process.start()
                    except OSError as error:  # its program is gone; the others go on
                        print(f"{process.component.name} can't be started: {error}", flush=True)
                        process.started = now
                        process.died()
            open_volumes(VOLUMES)
            time.sleep(0.05 if blocked else 0.2)
        self._stop()

    def _answers(self, name: str) -> bool:
        return any(p.component.name == name and p.pid and healthy(p.component.health) for p in self.processes)

    def _stop(self) -> None:
        # The kubelet first: it would start the pods that end now again. Then everything else at once, the
        # data store last, so that nothing is written to an API server that has lost it.
        for names in (["kubelet", "kube-controller-manager"], None, ["kube-apiserver"], ["etcd"]):
            keep = {"kube-apiserver", "etcd"} if names is None else set()
            mine = {p.pid for p in self.processes if p.component.name in (names or ()) and p.pid}
            kept = {p.pid for p in self.processes if p.component.name in keep and p.pid}
            for pid in mine if names is not None else _all_but(kept):
                _signal(pid, signal.SIGTERM)
            deadline = time.monotonic() + 8
            while time.monotonic() < deadline:
                self.reap()
                left = [pid for pid in (mine if names is not None else _all_but(kept)) if _alive(pid)]
                if not left:
                    break
                time.sleep(0.05)


def _all_but(kept: set[int]) -> list[int]:
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and int(p.name) not in kept | {1}]


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def main() -> None:
    """Wait for the network, which the machine's side makes, then run."""
    order = json.loads(sys.stdin.readline())
    state = Path(order["state"])
    site = Site(**{**order["site"], "resolvers": tuple(order["site"]["resolvers"])})
    mounts(state)
    for name, value in (("ipv4/ip_forward", "1"), ("bridge/bridge-nf-call-iptables", "1")):
        setting = Path("/proc/sys/net") / name
        if setting.exists():
            setting.write_text(value)
    run("ip", "link", "set", "lo", "up")
    Node(components(site, order["tools"])).run()


if __name__ == "__main__":
    main()
