"""What one command on the bastion may take, and what is said when its end cannot be told."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bastion.session.audit_client import AuditSession
from bastion.session.run import run

LIMITED = "import resource\nfrom bastion.session.run import limit\nlimit()\n"


@pytest.mark.parametrize(
    ("then", "says"),
    [
        ("bytes(600 << 20)", "MemoryError"),
        ("[open('/dev/null') for _ in range(300)]", "Too many open files"),
        ("resource.setrlimit(resource.RLIMIT_CORE, (1, 1))", "not allowed to raise maximum limit"),
        ("resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))", "not allowed to raise maximum limit"),
    ],
)
def test_limit_keeps_a_command_from_shared_resources(then: str, says: str) -> None:
    # As anybody but root, whom a hard limit does not hold.
    become = "import os\nif os.getuid() == 0: os.setgid(65534), os.setuid(65534)\n"
    before = "import bastion.session.run, resource\n"
    done = subprocess.run(
        [sys.executable, "-c", before + become + LIMITED + then],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done
    assert says in done.stderr, done


def test_limit_lowers_priority_and_bounds_processor_time() -> None:
    """Whoever runs the tests may have given way already."""
    nice = max(10, os.getpriority(os.PRIO_PROCESS, 0))
    then = f"assert os.nice(0) == {nice} and resource.getrlimit(resource.RLIMIT_CPU) == (600, 602)"
    subprocess.run([sys.executable, "-c", f"import os\n{LIMITED}limit()\n{then}"], timeout=60, check=True)


def test_limit_called_twice_changes_nothing() -> None:
    then = "limit()\nassert len(bytes(100 << 20)) and resource.getrlimit(resource.RLIMIT_NOFILE) == (256, 256)"
    subprocess.run([sys.executable, "-c", LIMITED + then], timeout=60, check=True)


def test_run_whose_end_cannot_be_reported_keeps_its_exit_code(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """An audit process that goes away while the command runs: what was done is not said to be nothing."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "audit"))
        server.listen()
        server.settimeout(30)

        def two_answers() -> None:
            peer, _ = server.accept()
            with peer:
                for _ in range(2):
                    peer.recv(65536)
                    peer.sendall(b'{"ok": true}\n')

        answering = threading.Thread(target=two_answers)
        answering.start()
        audit = AuditSession(str(tmp_path / "audit"))
        audit.start(kind="exec", argv=["devctl", "list", "--foo"])
        code = run(["devctl", "list", "--foo"], {"PATH": "/usr/bin:/bin", "HOME": "/"}, audit)
        answering.join(30)
    shown = capfd.readouterr().err
    assert code == 2, shown
    assert "its end is not on record" in shown.splitlines()[-1]
    assert "nothing is done" not in shown
