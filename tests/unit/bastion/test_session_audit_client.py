"""A session's connection to the audit process, also on an interpreter without CPython's own C modules."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bastion.session.audit_client import AuditSession, AuditUnavailableError, BusyError


class AuditStandIn:
    """Answers each line with the next of `answers` and hangs up after the last."""

    def __init__(self, path: Path, *answers: bytes) -> None:
        self.lines: list[bytes] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._server.settimeout(30)
        self._thread = threading.Thread(target=self._serve, args=(answers,))
        self._thread.start()

    def _serve(self, answers: tuple[bytes, ...]) -> None:
        peer, _ = self._server.accept()
        with peer, peer.makefile("rb") as lines:
            for answer in answers:
                self.lines.append(lines.readline())
                peer.sendall(answer)

    def close(self) -> None:
        """Waits for the last answer."""
        self._thread.join(30)
        self._server.close()


def test_session_is_told_whether_it_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    server = AuditStandIn(path, b'{"ok": true, "session": "s", "record": true}\n', b'{"ok": true, "session": "s"}\n')
    audit = AuditSession(str(path))
    audit.start(kind="shell", argv=[])
    assert audit.record
    audit.report("command_start", argv=["devctl", "list"])
    server.close()
    assert [b'"session_start"' in line or b'"command_start"' in line for line in server.lines] == [True, True]


def test_busy_answer_leaves_the_session_open(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    server = AuditStandIn(
        path, b'{"ok": true}\n', b'{"ok": false, "busy": true, "error": "four run"}\n', b'{"ok": true}\n'
    )
    audit = AuditSession(str(path))
    audit.start()
    with pytest.raises(BusyError, match="four run"):
        audit.report("command_start", argv=[])
    audit.report("command_start", argv=[])
    server.close()


@pytest.mark.parametrize("answer", [b'{"ok": false, "error": "you may\\nnot"}\n', b"nonsense\n", b""])
def test_refusal_or_no_answer_ends_the_session(tmp_path: Path, answer: bytes) -> None:
    path = tmp_path / "audit"
    server = AuditStandIn(path, answer)
    audit = AuditSession(str(path))
    with pytest.raises(AuditUnavailableError) as refused:
        audit.start()
    server.close()
    assert "\n" not in str(refused.value)
    with pytest.raises(AuditUnavailableError, match="does not answer"):
        audit.report("command_start", argv=[])


def test_audit_without_cpythons_c_modules_works(tmp_path: Path) -> None:
    """Where `_socket` cannot be imported from here, `socket` does the same; `socket` itself still finds it."""
    path = tmp_path / "audit"
    server = AuditStandIn(path, b'{"ok": true, "record": true}\n')
    program = (
        "import builtins, sys\n"
        "found = builtins.__import__\n"
        "def without(name, globals=None, *rest):\n"
        "    if name == '_socket' and globals and globals.get('__name__') == 'bastion.session.audit_client':\n"
        "        raise ImportError(name)\n"
        "    return found(name, globals, *rest)\n"
        "builtins.__import__ = without\n"
        "sys.modules['_json'] = None\n"
        "import bastion.session.audit_client as module\n"
        "assert module.socket.__name__ == 'socket', module.socket\n"
        f"audit = module.AuditSession({str(path)!r})\n"
        "audit.start(kind='exec', argv=['devctl'])\n"
        "assert audit.record\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    server.close()
    assert done.returncode == 0, done.stderr
    assert server.lines[0].startswith(b'{"v": 1, "event": "session_start"')
