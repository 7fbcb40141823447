"""Tests a child process that has the terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from devctl.ssh.process import wait_child

SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize(("does", "code"), [("exit 7", 7), ("kill -TERM $$", 143)])
def test_wait_child_returns_code_and_restores_signal_handlers(does: str, code: int) -> None:
    """Ctrl-C has to end what comes after it: a second ssh inherits what is ignored."""
    before = [signal.getsignal(number) for number in SIGNALS]
    assert wait_child(subprocess.Popen(["sh", "-c", does])) == code
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_wait_child_stopped_child_stops_and_continues_the_parent() -> None:
    """What ssh does at `~^Z`: the shell gets its terminal back."""
    script = (
        "import subprocess, sys\n"
        "from devctl.ssh.process import wait_child\n"
        "sys.exit(wait_child(subprocess.Popen(['sh', '-c', 'kill -STOP $$; exit 5'])))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script]) as running:
        _, status = os.waitpid(running.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        running.send_signal(signal.SIGCONT)
        assert running.wait(30) == 5
