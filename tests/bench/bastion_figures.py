"""Figures of a hundred simultaneous logins at the bastion's pods of `make up`.

What a login costs is held against the same login to a plain sshd in the same pods: the same sshd, accounts, keys and
configuration, but it runs `true` and nobody watches.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from devcluster.toolchain import need
from devservers_core.names import SSH_POD_PORT
from infra.settings.platform.bastion import NODE_PORT
from tests.bench.figure import Figure, percentile
from tests.support.node.laptop import NAMESPACE, Laptop, add, pods, read_until
from tests.support.node.person import Platform
from tests.support.node.wait import eventually

PEOPLE = 100
ROUNDS = 3
PLAIN_PORT = 2299
"""Of the plain sshd in each pod."""
PLAIN_NODE_PORT = NODE_PORT + 1
CLIENT = {
    # As `devctl ssh-config` writes it.
    "ConnectionAttempts": "4",
    # What sntrup761, the first choice of clients before 9.9, takes is the client's own time: measured 0.27 s of
    # processor against 0.03 with this one or with ML-KEM. A hundred people don't share their laptop's two cores.
    "KexAlgorithms": "curve25519-sha256",
}
Run = tuple[int, float]
"""An exit code, and the seconds from the common start to the end."""


class Crowd:
    """A hundred people with a key each, known to the bastion."""

    def __init__(self, platform: Platform, folder: Path) -> None:
        self.platform = platform
        self.laptops = [self._laptop(platform, folder, f"p{number:02d}") for number in range(PEOPLE)]
        for laptop in self.laptops:
            add(platform, laptop)
        for laptop in self.laptops:
            eventually(partial(self._in, laptop), laptop.name, 120)

    @staticmethod
    def _laptop(platform: Platform, folder: Path, name: str) -> Laptop:
        (folder / name).mkdir()
        laptop = Laptop(folder / name, platform, name)
        # The plain sshd shows the bastion's certificate, which is for this name too.
        laptop.known.write_text(laptop.known.read_text().replace("@cert-authority ", "@cert-authority localhost,"))
        return laptop

    @staticmethod
    def _in(laptop: Laptop) -> bool:
        return laptop.ssh("devctl", "list", check=False).returncode == 0

    def at_once(self, command: Callable[[Laptop], Sequence[str]], people: int = PEOPLE) -> list[Run]:
        """Everybody starts this at the same moment."""
        found: list[Run] = []
        barrier = threading.Barrier(people + 1)

        def one(number: int) -> None:
            laptop = self.laptops[number]
            words = command(laptop)
            env = {"PATH": os.environ["PATH"], "HOME": str(laptop.folder)}
            barrier.wait()
            done = subprocess.run(words, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False)
            found.append((done.returncode, time.monotonic() - began))

        threads = [threading.Thread(target=one, args=(number,)) for number in range(people)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        barrier.wait()
        for thread in threads:
            thread.join()
        return found

    def log_in(self, *words: str, people: int = PEOPLE) -> list[Run]:
        """Everybody runs this on the bastion at the same moment."""
        return self.at_once(lambda laptop: ssh_command(laptop, *words), people)


def ssh_command(laptop: Laptop, *words: str) -> list[str]:
    """The ssh command line to the bastion, as people have it."""
    return ["ssh", *_options(laptop), "-p", str(laptop.platform.ssh_port), f"{laptop.name}@127.0.0.1", *words]


def plain_ssh_command(laptop: Laptop) -> list[str]:
    """The same to the plain sshd, which shows the bastion's host certificate."""
    where = ("-o", "HostKeyAlias=localhost", "-p", str(_plain_port(laptop.platform)), f"{laptop.name}@127.0.0.1")
    return ["ssh", *_options(laptop), *where, "true"]


def _plain_port(platform: Platform) -> int:
    return platform.cluster.published()[PLAIN_NODE_PORT]


def _options(laptop: Laptop) -> list[str]:
    return [*laptop.options(), *(word for key, value in CLIENT.items() for word in ("-o", f"{key}={value}"))]


def _in_everywhere(laptop: Laptop) -> bool:
    """Ten in a row: connections go to either pod."""
    return all(_code(plain_ssh_command(laptop)) == 0 for _ in range(10))


def logins(crowd: Crowd) -> list[Figure]:
    """Logins beside plain ones, in turns."""
    plain: list[Run] = []
    mine: list[Run] = []
    lists: list[Run] = []
    few: list[Run] = []
    with plain_sshd(crowd.platform):
        eventually(partial(_in_everywhere, crowd.laptops[0]), "the plain sshd", 30)
        for number in range(ROUNDS + 1):  # the first warms up and is not counted
            rounds = crowd.at_once(plain_ssh_command), crowd.log_in("devctl", "version"), crowd.log_in("devctl", "list")
            least = crowd.log_in("devctl", "version", people=20)
            if number:
                for all_of, each in zip((plain, mine, lists, few), (*rounds, least), strict=True):
                    all_of += each
    lost = [code for code, _ in plain if code]
    if lost:
        raise RuntimeError(f"{len(lost)} plain logins failed: this is no baseline")
    ok = min(sum(not code for code, _ in mine[at : at + PEOPLE]) for at in range(0, len(mine), PEOPLE))
    beside = _p95(plain)
    return [
        Figure("logins_100_ok", ok, "people", bound=PEOPLE, runs=ROUNDS, at_least=True),
        Figure("logins_100_p95", _p95(mine), "s", beside, bound=2.0, runs=len(mine)),
        Figure("logins_100_list_p95", _p95(lists), "s", beside, runs=len(lists)),
        Figure("login_p95_20", _p95(few), "s", bound=2.0, runs=len(few)),
    ]


def _p95(runs: Sequence[Run]) -> float:
    return percentile([seconds for code, seconds in runs if not code], 0.95)


@contextmanager
def plain_sshd(platform: Platform) -> Iterator[None]:
    """A second sshd in each of the bastion's pods, reached the same way by another port of the node."""
    cluster = platform.cluster
    selector = platform.get("service", "bastion", "-n", NAMESPACE)["spec"]["selector"]
    metadata = {"name": "plain", "namespace": NAMESPACE}
    port = {"port": PLAIN_PORT, "nodePort": PLAIN_NODE_PORT}
    way = {"selector": selector, "type": "NodePort", "externalTrafficPolicy": "Local", "ports": [port]}
    allowed = {"podSelector": {"matchLabels": selector}, "ingress": [{"ports": [{"port": PLAIN_PORT}]}]}
    made = [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": way},
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": allowed},
    ]
    with ExitStack() as stack:
        for manifest in made:
            text = json.dumps(manifest)
            cluster.kubectl("apply", "-f", "-", text=text)
            stack.callback(cluster.kubectl, "delete", "-f", "-", text=text)
        cluster.publish(PLAIN_NODE_PORT)
        for name in pods(platform):
            stack.enter_context(_plain(platform, name))
        yield


_PLAIN = f"""
umask 077
folder=/run/bastion/sshd/plain
mkdir -p $folder
sed 's#:[^:]*$#:/bin/sh#' /run/bastion/accounts/current/passwd > $folder/passwd
chmod 644 $folder/passwd
chmod 711 $folder
mount --bind $folder/passwd "$(readlink -f /run/bastion/accounts/current/passwd)"
sed -E '/^(ForceCommand|LogLevel|LogVerbose) /d; s/^Port .*/Port {PLAIN_PORT}/' \\
  /run/bastion/sshd/sshd_config > $folder/config
exec /usr/sbin/sshd -D -e -f $folder/config
"""


@contextmanager
def _plain(platform: Platform, pod: str) -> Iterator[None]:
    first = first_process(platform, pod)
    inside = ["nsenter", "-t", str(first), "-m", "-n", "-p", "unshare", "-m", "--propagation", "private"]
    process = subprocess.Popen(
        [*inside, "sh", "-ec", _PLAIN], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        said = ""
        while "Server listening" not in said:
            line = process.stderr.readline()
            if not line:
                raise RuntimeError(f"no plain sshd in {pod}: {said}")
            said += line
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield
    finally:
        # nsenter waits for what it started in there, which is to be ended instead.
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGTERM)
        process.wait(10)


def first_process(platform: Platform, pod: str) -> int:
    """PID, on this machine, of the first process of a bastion pod's sshd container."""
    uid = platform.get("pod", pod, "-n", NAMESPACE)["metadata"]["uid"]
    for pid in of_pod(uid):
        if b"bastion\0supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise RuntimeError(f"{pod} has no supervisor")


def of_pod(uid: str) -> Iterator[int]:
    """Its processes, parents before children."""
    marks = (uid, uid.replace("-", "_"))
    for entry in sorted((each for each in Path("/proc").iterdir() if each.name.isdigit()), key=lambda e: int(e.name)):
        try:
            groups = (entry / "cgroup").read_text()
        except OSError:
            continue
        if any(mark in groups for mark in marks):
            yield int(entry.name)


def memory(platform: Platform) -> float:
    """MiB that all processes of the bastion's pods have, shared pages divided by who shares them (PSS)."""
    total = 0
    for pod in platform.get("pods", "-n", NAMESPACE)["items"]:
        for pid in of_pod(pod["metadata"]["uid"]):
            try:
                total += int(re.findall(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[0])
            except (OSError, IndexError):
                continue  # it ended, or is the kernel's
    return total / 1024


def idle_and_killed(crowd: Crowd) -> list[Figure]:
    """A hundred open prompts: what they take, and who notices that one replica is killed."""
    platform = crowd.platform
    eventually(lambda: len(pods(platform)) == 2, "two replicas", 90)
    before = memory(platform)
    with ExitStack() as stack:
        sessions = [stack.enter_context(laptop.session()) for laptop in crowd.laptops]
        for session in sessions:
            read_until(session, "devctl>", 60)
        taken = (memory(platform) - before) / PEOPLE
        killed, _ = pods(platform)
        affected_before = connections(platform, killed)
        os.kill(first_process(platform, killed), 9)
        eventually(lambda: sum(each.poll() is not None for each in sessions) >= affected_before, "the cut ones", 30)
        lost = 0
        back: list[threading.Thread] = []
        codes: list[int] = []
        affected = [number for number, each in enumerate(sessions) if each.poll() is not None]
        for number in affected:
            words = ssh_command(crowd.laptops[number], "devctl", "version")
            thread = threading.Thread(target=lambda words=words: codes.append(_code(words)))
            thread.start()
            back.append(thread)
        for thread in back:
            thread.join()
        lost += sum(code != 0 for code in codes)
        lost += abs(len(affected) - affected_before)
        for number, session in enumerate(sessions):
            if number in affected:
                continue
            assert session.stdin is not None
            try:
                session.stdin.write("version\r")
                read_until(session, "devctl 0", 30)
            except (AssertionError, OSError):
                lost += 1
    eventually(lambda: len(pods(platform)) == 2, "two replicas again", 90)
    return [
        Figure("memory_per_session", taken, "MiB", bound=12, runs=PEOPLE),
        Figure("replica_kill_lost", lost, "people", bound=0, runs=PEOPLE),
    ]


def _code(words: Sequence[str]) -> int:
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode


def connections(platform: Platform, pod: str) -> int:
    """How many connections this replica has."""
    page = platform.cluster.kubectl("get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8081/proxy/metrics")
    return int(float(dict(line.split() for line in page.splitlines() if line[0] != "#")["bastion_connections"]))


SIZE = 128 << 20


def scp(laptop: Laptop) -> Figure:
    """Copies to a server through the bastion beside copies through `kubectl port-forward`, in turns."""
    server = "bench"
    laptop.ssh("devctl", "create", server, "--ephemeral", "--wait", "3m")
    config = laptop.config(server)
    (laptop.folder / "data").write_bytes(os.urandom(SIZE))
    through: list[float] = []
    direct: list[float] = []
    with forwarded(laptop.platform, f"dev-{laptop.name}", server) as port:
        host = f"{server}.dev-{laptop.name}.svc.cluster.local"
        straight = laptop.folder / "straight"
        options = [word.replace("=", " ", 1) for word in laptop.options()[2:] if word != "-o"]
        lines = ["Host straight", "HostName 127.0.0.1", f"Port {port}", "User dev", f"HostKeyAlias {host}", *options]
        straight.write_text("\n".join(lines) + "\n")
        for number in range(ROUNDS + 1):  # the first warms up and is not counted
            for file, target, times in ((straight, "straight", direct), (config, server, through)):
                began = time.monotonic()
                laptop.run("scp", "-F", str(file), "data", f"{target}:/dev/shm/data")
                if number:
                    times.append(time.monotonic() - began)
    laptop.ssh("devctl", "delete", server, "--yes")
    rate = [SIZE / (1 << 20) / percentile(times, 0.5) for times in (through, direct)]
    return Figure("scp_throughput", rate[0], "MiB/s", rate[1], bound=0.8, runs=ROUNDS, at_least=True)


@contextmanager
def forwarded(platform: Platform, namespace: str, server: str) -> Iterator[int]:
    """The local port of a `kubectl port-forward` to a server's sshd."""
    (pod,) = platform.get("pods", "-n", namespace, "-l", f"devservers.io/name={server}")["items"]
    command = [
        str(need("kubectl")), f"--kubeconfig={platform.cluster.kubeconfig}", "port-forward", "-n", namespace,
        f"pod/{pod['metadata']['name']}", f":{SSH_POD_PORT}", "--address", "127.0.0.1",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield int(re.findall(r"127\.0\.0\.1:(\d+)", line)[0])
    finally:
        process.terminate()
        process.wait(10)
