"""Figures of one user's burst at the bastion and of an upload by the API server."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from devcluster.toolchain import need
from devservers_core.names import FIRST_UID
from tests.bench.bastion_figures import of_pod, ssh_command
from tests.bench.figure import Figure, percentile
from tests.support.node.laptop import NAMESPACE, Laptop, add, await_success, pods
from tests.support.node.person import BIN, Person, Platform

CONNECTIONS = 20
"""As many as one person may have."""
BURST_SECONDS = 120.0
SAMPLE_SECONDS = 0.05
MOST_SHARE = 0.25
_EIGHT = "%[1]s" * 8
TEMPLATE = "".join(
    [
        '{{$a := printf "%1000000d" 1}}',
        f'{{{{$b := printf "{_EIGHT}" $a}}}}',
        f'{{{{$c := printf "{_EIGHT}" $b}}}}',
        f'{{{{$d := printf "{_EIGHT}" $c}}}}',
    ]
)
"""8, 64 and 512 MB of text that kubectl makes in its memory."""
UPLOAD = 128 << 20
ROUNDS = 3


def burst_memory(platform: Platform, folder: Path) -> Figure:
    """The largest share of the memory limit that twenty connections of one person took on one replica."""
    (folder / "burst").mkdir()
    laptop = Laptop(folder / "burst", platform, "burst")
    add(platform, laptop)
    await_success(lambda: laptop.ssh("devctl", "version", check=False), "the person's account", 60)
    spec = platform.get("deployment", "bastion", "-n", NAMESPACE)["spec"]["template"]["spec"]
    (limit,) = (_bytes(each["resources"]["limits"]["memory"]) for each in spec["containers"] if each["name"] == "sshd")
    uids = [platform.get("pod", name, "-n", NAMESPACE)["metadata"]["uid"] for name in pods(platform)]
    commands = [
        ["kubectl", "get", "serviceaccounts", "-o", f"go-template={TEMPLATE}"],
        ["kubectl", "apply", "-f", "-"],
    ]
    largest = 0.0
    with ExitStack() as stack:
        running = [
            stack.enter_context(_flooded(ssh_command(laptop, shlex.join(commands[number % len(commands)]))))
            for number in range(CONNECTIONS)
        ]
        ends = time.monotonic() + BURST_SECONDS
        while time.monotonic() < ends and any(each.poll() is None for each in running):
            largest = max([largest, *(sum(_memory(pid) for pid in of_pod(uid)) for uid in uids)])
            time.sleep(SAMPLE_SECONDS)
        if not any(each.poll() is not None for each in running):
            raise RuntimeError("no command of the burst has ended")
    return Figure("burst_memory_share", largest / limit, "share", bound=MOST_SHARE, runs=CONNECTIONS)


@contextmanager
def _flooded(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A command that is given 320 MiB on standard input, for as long as it takes them."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def pour() -> None:
        assert process.stdin is not None
        try:
            for _ in range(320):
                process.stdin.write(b"a" * (1 << 20))
            process.stdin.close()
        except OSError:
            pass  # it takes no more

    pouring = threading.Thread(target=pour)
    pouring.start()
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        pouring.join()


def _memory(pid: int) -> int:
    """Bytes of a process of a person's that are its own, 0 for everybody else's."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    uid = int(status.partition("\nUid:")[2].split(maxsplit=1)[0])
    own = re.search(r"^RssAnon:\s+(\d+) kB", status, re.M)
    return int(own[1]) * 1024 if own and uid >= FIRST_UID else 0


def _bytes(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([KMG]i)", quantity).groups()  # type: ignore[union-attr]
    return int(number) << {"Ki": 10, "Mi": 20, "Gi": 30}[unit]


def exec_upload(ann: Person, folder: Path) -> Figure:
    """`devctl exec` of a file on standard input beside `kubectl exec`, in turns."""
    server, file = "upload", folder / "upload"
    ann.devctl("create", server, "--ephemeral", "--wait", "3m")
    file.write_bytes(os.urandom(UPLOAD))
    (pod,) = ann.platform.get("pods", "-n", ann.namespace, "-l", f"devservers.io/name={server}")["items"]
    store = ["sh", "-c", "cat > /dev/shm/data"]
    kubectl = [
        str(need("kubectl")), f"--kubeconfig={ann.platform.cluster.kubeconfig}", "exec", "-i", "-n", ann.namespace,
        pod["metadata"]["name"], "-c", "dev", "--", *store,
    ]  # fmt: skip
    devctl = [str(BIN / "devctl"), "exec", *interactive(), server, "--", *store]
    times: dict[str, list[float]] = {"kubectl": [], "devctl": []}
    for number in range(ROUNDS + 1):  # the first warms up and is not counted
        for name, command in ("kubectl", kubectl), ("devctl", devctl):
            with file.open("rb") as data:
                began = time.monotonic()
                subprocess.run(command, env=ann.platform.env, stdin=data, check=True, stdout=subprocess.DEVNULL)
                if number:
                    times[name].append(time.monotonic() - began)
    arrived = int(ann.devctl("exec", server, "--", "stat", "-c", "%s", "/dev/shm/data").stdout)
    ann.devctl("delete", server, "--yes")
    if arrived != UPLOAD:
        raise RuntimeError(f"{arrived} of {UPLOAD} bytes arrived")
    mine, baseline = (UPLOAD / (1 << 20) / percentile(times[name], 0.5) for name in ("devctl", "kubectl"))
    return Figure("exec_upload_mib_s", mine, "MiB/s", baseline, bound=0.5, runs=ROUNDS, at_least=True)


def interactive() -> list[str]:
    """`-i` where this devctl has it."""
    shown = subprocess.run(
        [sys.executable, "-m", "devctl", "exec", "--help"], capture_output=True, text=True, check=True
    ).stdout
    return ["-i"] if re.search(r"\s-i\b", shown) else []
