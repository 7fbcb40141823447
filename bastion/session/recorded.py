"""Runs a session on a pseudo-terminal and sends what it shows to the audit.

Invariant: what the terminal shows reaches the audit process before the person sees it, and nothing that is typed does;
when the audit process is away, the session ends.
"""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import select
import signal
import termios
import tty
from collections.abc import Callable

from bastion.session.audit_client import AuditSession, AuditUnavailableError

CHUNK = 4096
"""Bytes of a terminal read at once: N_TTY's buffer, and less than a request to the audit process holds."""


def run_recorded(audit: AuditSession, talk: Callable[[], int]) -> int:
    """Runs `talk` on a terminal of its own, joined to ours; its exit code."""
    audit.share_with_child()
    child, inner = pty.fork()
    if not child:
        code = 1
        try:
            code = talk()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        finally:
            os._exit(code & 255)
    before = termios.tcgetattr(0)
    text = codecs.getincrementaldecoder("utf-8")("replace")
    size = _same_size(inner)

    def resized(*_: object) -> None:
        _same_size(inner)

    signal.signal(signal.SIGWINCH, resized)
    try:
        tty.setraw(0)
        while True:
            ready, _, _ = select.select([0, inner], [], [])
            if inner in ready:
                try:
                    data = os.read(inner, CHUNK)
                except OSError:  # how Linux says that the other side is closed
                    break
                if not data:
                    break
                if (now := os.get_terminal_size(0)) != size:
                    size = now
                    audit.send("resize", columns=size.columns, rows=size.lines)
                audit.send("output", data=text.decode(data))
                _write(1, data)
            if 0 in ready:
                typed = os.read(0, CHUNK)
                if not typed:
                    break
                _write(inner, typed)
    except AuditUnavailableError:
        _write(1, b"\r\nThe audit log is away: this recorded session ends.\r\n")
    except OSError:
        pass  # the person's side is gone
    finally:
        os.close(inner)  # a hang-up for whatever still runs there
        termios.tcsetattr(0, termios.TCSADRAIN, before)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def _same_size(inner: int) -> os.terminal_size:
    size = os.get_terminal_size(0)
    fcntl.ioctl(inner, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
    return size


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
