"""A recorded session on a real terminal: what it shows reaches the audit process, what is typed does not."""

from __future__ import annotations

import json
import socket
import sys
import threading
from pathlib import Path

from tests.support.bastion.terminal import at_a_terminal, ended

PROGRAM = """
import os, sys
from bastion.session.audit_client import AuditSession
from bastion.session.recorded import run_recorded

def talk():
    os.write(1, b"name? ")
    os.system("stty -echo")
    os.write(1, b"ready ")
    typed = os.read(0, 100)
    os.write(1, b"got %d bytes\\n" % len(typed))
    return 7

audit = AuditSession(sys.argv[1])
audit.start(kind="shell", argv=[])
assert audit.record
sys.exit(run_recorded(audit, talk))
"""


class Recorder:
    """An audit process that asks for a recording, and hangs up after `most` events where that is given."""

    def __init__(self, path: Path, most: int | None = None) -> None:
        self.shown = ""
        self.lines: list[bytes] = []
        self._most = most
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._server.settimeout(30)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        peer, _ = self._server.accept()
        with peer, peer.makefile("rb") as lines:
            lines.readline()
            peer.sendall(b'{"ok": true, "session": "s", "record": true}\n')
            for line in lines:
                self.lines.append(line)
                message = json.loads(line)
                if message["event"] == "output":
                    self.shown += message["fields"]["data"]
                if self._most is not None and len(self.lines) >= self._most:
                    return

    def close(self) -> None:
        """Waits for the session's end."""
        self._thread.join(30)
        self._server.close()


def test_recorded_session_sends_what_is_shown_and_not_what_is_typed(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "audit")
    with at_a_terminal([sys.executable, "-c", PROGRAM, str(tmp_path / "audit")]) as (screen, pid):
        screen.until("ready ")
        screen.type("s3cret\r")
        screen.until("got 7 bytes")
        screen.rest()
        assert ended(pid) == 7
    recorder.close()
    assert recorder.shown.startswith("name? ")
    assert "got 7 bytes" in recorder.shown
    assert not any(b"s3cret" in line for line in recorder.lines)


def test_recorded_session_without_the_audit_process_ends(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "audit", most=1)
    with at_a_terminal([sys.executable, "-c", PROGRAM, str(tmp_path / "audit")]) as (screen, pid):
        screen.until("name? ")
        recorder.close()
        screen.type("x\r")
        assert "The audit log is away: this recorded session ends." in screen.rest()
        assert ended(pid) != 0
