"""Answers SFTP requests to the bastion with a refusal.

Invariant: a file transfer to the bastion itself is refused in SFTP's own words, and nothing of it is read or kept.

sshd drops what a subsystem says on standard error, so the reason goes as the status of the first request, which
OpenSSH's scp and sftp show (draft-ietf-secsh-filexfer-02, 3 and 7).
"""

from __future__ import annotations

from collections.abc import Callable

INIT, VERSION, STATUS = 1, 2, 101
PERMISSION_DENIED = 3
MAX_PACKET_BYTES = 1 << 18


def refuse(read: Callable[[int], bytes], write: Callable[[bytes], object], reason: str) -> None:
    """Answers requests with the reason until the client leaves. `read` gives at most so many bytes, none at the end."""
    text = reason.encode()
    while True:
        size = int.from_bytes(_exactly(read, 4), "big")
        if not 5 <= size <= MAX_PACKET_BYTES:
            return
        packet = _exactly(read, size)
        if len(packet) < size:
            return
        if packet[0] == INIT:
            answer = bytes([VERSION]) + (3).to_bytes(4, "big")
        else:
            answer = bytes([STATUS]) + packet[1:5] + PERMISSION_DENIED.to_bytes(4, "big")
            answer += len(text).to_bytes(4, "big") + text + (0).to_bytes(4, "big")
        write(len(answer).to_bytes(4, "big") + answer)


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    received = b""
    while len(received) < size and (data := read(size - len(received))):
        received += data
    return received
