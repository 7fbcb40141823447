"""The embedded single-node cluster, seen from the machine: up, down, and what state it is in.

Everything the cluster is lives in one state folder and one set of kernel namespaces. The only things outside
are one end of a veth pair with its iptables rules (nat, filter, raw), a cgroup folder and a few kernel settings,
all of them recorded before they are made and undone by :meth:`Cluster.down`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from devcluster import ROOT
from devcluster.node import components as parts
from devcluster.node import machine_setup, process
from devcluster.node.base_manifests import base_objects
from devcluster.node.health import unhealthy
from devcluster.node.ports import PUBLISHED, Ports
from devcluster.node.state import write_state
from devcluster.progress import Progress
from devcluster.toolchain import find, need
from devservers_core.names import GPU

PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
    "kube-router",
    "coredns",
)

NAMESPACES = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc")
"""How the node's first process starts: with its own view of mounts, network and processes."""

T = TypeVar("T")


class ClusterError(RuntimeError):
    """The cluster can't be brought to the wanted state. The message says what was seen and what to do."""


class Cluster:
    """One embedded cluster in ``folder``, which is made when it is not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "kubeconfig"

    def pid(self) -> int | None:
        """The node's first process (its id on the machine), or None when the cluster does not run."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            record = json.loads((self.folder / "node.pid").read_text())
            first = process.read(int(record["pid"]))
            if first is not None and not first.ended and first.started == record["started"]:
                return first.pid
        return None

    def processes(self) -> dict[int, str]:
        """The machine's process ids of everything in the node, containers included, with the programs' names.

        Found by parent process: an orphan in the node becomes a child of the node's first process.
        """
        first = self.pid()
        if first is None:
            return {}
        names: dict[int, str] = {}
        children: dict[int, list[int]] = {}
        for each in process.everything():
            names[each.pid] = each.name
            children.setdefault(each.parent, []).append(each.pid)
        pids, waiting = {}, [first]
        while waiting:
            pid = waiting.pop()
            if pid in names:
                pids[pid] = names[pid]
            waiting += children.get(pid, [])
        return pids

    def enter(self, *argv: str, stdin_file: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command inside the node and return what it printed; a failure is a :class:`ClusterError`."""
        first = self.pid()
        if first is None:
            raise ClusterError("the embedded cluster is not running\n  run `make up`")
        command = ["nsenter", "-t", str(first), "-m", "-n", "-p", *argv]
        with (stdin_file or Path(os.devnull)).open("rb") as stdin:
            done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(f"{argv[0]} failed inside the node: {done.stderr.strip()[-1000:]}")
        return done

    def kubectl(self, *argv: str, text: str | None = None) -> str:
        """Run kubectl as the cluster's administrator."""
        command = [str(need("kubectl")), f"--kubeconfig={self.kubeconfig}", *argv]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(f"kubectl {' '.join(argv[:3])}: {done.stderr.strip()[-1000:]}")
        return done.stdout

    def pretend_gpus(self, number: int) -> None:
        """Give the node that many GPUs with nothing behind them; 0 takes them away.

        Said again at every `up`: a kubelet that starts anew forgets what no device plugin tells it.
        """
        status = json.loads(self.kubectl("get", "node", parts.NODE, "-o", "json"))["status"]
        amount = str(number) if number else None
        if all(status[key].get(GPU) == amount for key in ("capacity", "allocatable")):
            return
        patch = {"status": {key: {GPU: amount} for key in ("capacity", "allocatable")}}
        self.kubectl("patch", "node", parts.NODE, "--subresource=status", "--type=merge", "-p", json.dumps(patch))

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def up(self, progress: Progress, deadline: float = 180.0) -> None:
        """Start the cluster, or what of it has died, and wait until it is healthy (``deadline`` seconds)."""
        with self._lock():
            if self.pid() is None:
                with progress.step("starting the embedded cluster"):
                    self._start()
            elif self.components() != self._components(_tools()):
                progress.say(
                    "the embedded cluster runs as another version of devservers started it\n"
                    "  make down, then make up   starts it as this version does; homes are kept, servers start anew"
                )
            with progress.step("waiting for the cluster to be healthy"):
                self._settle(time.monotonic() + deadline)

    def _start(self) -> None:
        self._undo()  # what a cluster that was killed left on the machine
        site = self.site
        write_state(self.folder, self.kubeconfig, site)
        machine_setup.make_cgroup(site.cgroup)
        with machine_setup.one_at_a_time():
            machine_setup.remember_settings()
        (self.folder / "logs").mkdir(exist_ok=True)
        with (self.folder / "logs" / "node.log").open("ab") as log:
            outer = subprocess.Popen(
                [*NAMESPACES, sys.executable, "-m", "devcluster.node.supervisor"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "/", "LANG": "C.UTF-8"},
            )
        assert outer.stdin is not None
        first = _wait(lambda: process.child(outer.pid), 10, "the node's first process to start")
        record = {"pid": first.pid, "outer": outer.pid, "started": first.started}
        (self.folder / "node.pid").write_text(json.dumps(record))
        machine_setup.connect(self._link(), site, first.pid)
        (self.folder / "components.json").write_text(json.dumps(self._components(_tools())))
        order = {"state": str(self.folder), "site": asdict(site), "tools": _tools()}
        outer.stdin.write(json.dumps(order).encode() + b"\n")
        outer.stdin.close()
        outer.returncode = 0  # it outlives us: not ours to wait for

    def _link(self) -> str:
        return machine_setup.link_name(self.folder)

    @property
    def site(self) -> parts.Site:
        """Where it is on this machine's networks; an address is chosen when it has none."""
        file = self.folder / "site.json"
        if not file.exists():
            address, gateway = machine_setup.free_addresses(self.folder)
            file.write_text(json.dumps({"address": address, "gateway": gateway}))
        record = json.loads(file.read_text())
        return parts.Site(
            address=record["address"],
            gateway=record["gateway"],
            mtu=machine_setup.mtu(),
            resolvers=machine_setup.resolvers(),
            cgroup=f"{parts.CGROUP_ROOT}-{self._link()}",
            ipv6=Path("/proc/sys/net/ipv6").exists(),
        )

    def _settle(self, deadline: float) -> None:
        seen = "nothing yet"

        def ready() -> bool:
            nonlocal seen
            if self.pid() is None:
                raise ClusterError(f"the embedded cluster ended while starting\n  see {self.folder / 'logs'}")
            try:
                self.kubectl("get", "--raw", "/readyz")
                self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=base_objects())
                seen = self.kubectl("get", "nodes", "-o", "jsonpath={.items[*].status.conditions[-1:].status}")
                return seen.strip() == "True" and not self._unhealthy()
            except ClusterError as error:
                seen = str(error)
                return False

        while not ready():
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the embedded cluster is not healthy: {seen}; not answering: {', '.join(self._unhealthy())}\n"
                    f"  see the logs in {self.folder / 'logs'}"
                )
            time.sleep(0.3)

    def _unhealthy(self) -> list[str]:
        return unhealthy(self.pid(), self.components())

    def _components(self, tools: dict[str, str]) -> list[dict[str, Any]]:
        """The components as this version starts them, as JSON has them."""
        return [{**asdict(part), "argv": list(part.argv)} for part in parts.components(self.site, tools)]

    def components(self) -> list[dict[str, Any]]:
        """The components as they were started: argv, and where each is asked for its health."""
        with contextlib.suppress(OSError, ValueError):
            return list(json.loads((self.folder / "components.json").read_text()))
        # A version that wrote nothing down started them, and its etcd had no certificates.
        started = self._components(_tools())
        return [{**part, "health": part["health"].replace(parts.ETCD, "http://127.0.0.1:2379")} for part in started]

    def publish(self, node_port: int) -> int:
        """Make a port of the node one of this machine's loopback, and give that one's number."""
        port = self._ports.publish(self._link(), self.site, node_port)
        if port is None:
            raise ClusterError(
                f"every port from {PUBLISHED[0]} to {PUBLISHED[-1]} of this machine is taken\n"
                "  stop another platform (`make down`) or what else listens there"
            )
        return port

    def published(self) -> dict[int, int]:
        """The ports of this machine's loopback, by the node's; remembered while the cluster is down."""
        return self._ports.read()

    @property
    def _ports(self) -> Ports:
        return Ports(self.folder / "ports.json")

    def down(self, progress: Progress) -> None:
        """End the cluster, keep its state, and undo everything it was outside of its namespaces."""
        with self._lock():
            first = self.pid()
            if first is not None:
                with progress.step("stopping the embedded cluster"):
                    self._end(first)
            self._undo()

    def _end(self, first: int) -> None:
        os.kill(first, signal.SIGTERM)
        try:
            _wait(lambda: self.pid() is None, 40, "the node to end")
        except ClusterError:
            os.kill(first, signal.SIGKILL)  # the namespace's first process: the kernel ends the rest with it
            _wait(lambda: self.pid() is None, 20, "the node to be gone")

    def _undo(self) -> None:
        with machine_setup.one_at_a_time():
            machine_setup.disconnect(self._link())
            machine_setup.restore_settings(self._link())
        machine_setup.remove_cgroup(f"{parts.CGROUP_ROOT}-{self._link()}")
        (self.folder / "node.pid").unlink(missing_ok=True)

    def purge(self) -> None:
        """Delete the cluster's state, homes included. It must be down."""
        if self.pid() is not None:
            raise ClusterError("the embedded cluster is running\n  run `make down` first")
        shutil.rmtree(self.folder, ignore_errors=True)


def _tools() -> dict[str, str]:
    return {name: str(find(name) or need(name)) for name in PROGRAMS}


def _wait(probe: Callable[[], T | None], seconds: float, what: str) -> T:
    deadline = time.monotonic() + seconds
    while True:
        result = probe()
        if result:
            return result
        if time.monotonic() > deadline:
            raise ClusterError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.02)
