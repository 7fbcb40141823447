"""A session's connection to the audit process.

Invariant: a session that is not on record does not go on; no answer of the audit process is a refusal.

Every login waits for this module, so it avoids `json` and `socket`, which would double its time.
"""

from __future__ import annotations

from devservers_core.protocol import audit as protocol

try:
    import _socket as socket  # what `socket` wraps, without the 8 ms that `socket` takes to load
except ImportError:
    import socket  # type: ignore[no-redef]

ANSWER_SECONDS = 10.0
"""A timeout counts as refusal, and is longer than every wait of the server (WAIT_FOR_SSHD, WAIT_FOR_COMMAND). Measured:
with 2 s, 34 of 100 simultaneous logins on a busy machine were refused only because they queued; a shorter timeout
protects nobody.
"""


class AuditUnavailableError(Exception):
    """Nothing may be done: the audit process refused, with its reason in one line, or did not answer."""


class BusyError(Exception):
    """The command may not run now, for the reason given; the session goes on."""


class AuditSession:
    """This session on record, from session_start until the process ends."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._rest = b""
        self._turn: int | None = None
        self.record = False
        """Whether the stack records what the terminal shows."""

    def start(self, **fields: object) -> None:
        """session_start. Raises AuditUnavailableError."""
        self.close()
        try:
            # Not inherited by programs: the record ends when the last process closes the socket.
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            self._socket.settimeout(ANSWER_SECONDS)
            self._socket.connect(self._path)
        except OSError:
            raise self._away() from None
        self.record = protocol.is_recorded(self.report("session_start", **fields))

    def report(self, event: str, **fields: object) -> bytes:
        """One event; the answer. Raises AuditUnavailableError, and BusyError where one more command may not run now."""
        if self._socket is None:
            raise self._away()
        try:
            self._send(protocol.encode_request(event, fields))
            while b"\n" not in self._rest:
                data = self._socket.recv(65536)
                if not data:
                    raise OSError
                self._rest += data
        except OSError:
            raise self._away() from None
        answer, _, self._rest = self._rest.partition(b"\n")
        if not protocol.is_accepted(answer):
            reason = protocol.error_of(answer)
            if protocol.is_busy(answer):
                raise BusyError(reason)
            self.close()
            raise AuditUnavailableError(reason)
        return answer

    def send(self, event: str, **fields: object) -> None:
        """Sends output or resize, which are not answered. Raises AuditUnavailableError."""
        if self._socket is None:
            raise self._away()
        try:
            self._send(protocol.encode_request(event, fields))
        except OSError:
            raise self._away() from None

    def share_with_child(self) -> None:
        """From now on two processes write here, one events and the other output; a lock keeps their lines whole."""
        import os

        self._turn = os.memfd_create("turn")

    def _send(self, line: bytes) -> None:
        assert self._socket is not None
        if self._turn is None:
            self._socket.sendall(line)
            return
        import fcntl

        fcntl.lockf(self._turn, fcntl.LOCK_EX)
        try:
            self._socket.sendall(line)
        finally:
            fcntl.lockf(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        """Ends the session on record.

        In a child it only closes the child's copy of the socket.
        """
        if self._socket is not None:
            self._socket.close()
            self._socket, self._rest = None, b""

    def _away(self) -> AuditUnavailableError:
        self.close()
        return AuditUnavailableError(
            "the audit log does not answer, and nothing is done here that is not on record; try again soon"
        )
