"""Replaces this process by ssh, or waits for it as a child."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import NoReturn


def exec_(command: list[str]) -> NoReturn:
    """Replace this process by another program."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)


def wait_child(child: subprocess.Popen[bytes]) -> int:
    """Wait for a child that has the terminal, pass signals on, and return its exit code."""
    import signal

    ignored = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)  # ssh has the terminal
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    for number in (signal.SIGTERM, signal.SIGHUP):
        before[number] = signal.signal(number, lambda number, _: child.send_signal(number))
    try:
        while True:
            _, status = os.waitpid(child.pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                break
            os.kill(os.getpid(), signal.SIGSTOP)  # with it, so that the shell has its terminal back
            child.send_signal(signal.SIGCONT)
    finally:
        # Another program may follow, and it inherits what is ignored.
        for number, handler in before.items():
            signal.signal(number, handler)
    code = child.returncode = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
