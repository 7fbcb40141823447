"""The API server's side of a WebSocket, by the websockets package's own server."""

from __future__ import annotations

import socket

from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side


class Peer:
    """Sends messages and reads those that arrive."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.wire = Protocol(Side.SERVER, state=OPEN, max_size=None)
        self._frames: list[Frame] = []

    def send(self, *messages: bytes) -> None:
        """Each as one binary message."""
        for message in messages:
            self.wire.send_binary(message)
        self.flush()

    def flush(self) -> None:
        """Put on the wire what the protocol has to say."""
        self.sock.sendall(b"".join(self.wire.data_to_send()))

    def frame(self) -> tuple[Opcode, bytes]:
        """The next frame that arrives, as (opcode, payload)."""
        while not self._frames:
            self.wire.receive_data(self.sock.recv(1 << 20))
            self._frames += [event for event in self.wire.events_received() if isinstance(event, Frame)]
        found = self._frames.pop(0)
        return found.opcode, bytes(found.data)

    def message(self) -> bytes:
        """The payload of the next frame."""
        return self.frame()[1]
