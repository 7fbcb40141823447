"""What one command on the bastion may take, and what is said when its end cannot be told."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
def test_a_command_cannot_take_what_is_everybodys(then: str, says: str) -> None:
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
    assert done.returncode == 1 and says in done.stderr, done


def test_twice_is_as_good_as_once() -> None:
    then = "limit()\nassert len(bytes(100 << 20)) and resource.getrlimit(resource.RLIMIT_NOFILE) == (256, 256)"
    subprocess.run([sys.executable, "-c", LIMITED + then], timeout=60, check=True)
