"""Copies bytes between standard input and output and a forwarded port.

Every ssh, scp and editor connection waits for this module: typer is not imported here.
"""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING

from devctl.output.standard_streams import write_all

if TYPE_CHECKING:
    from devctl.ssh.port_forward import Tunnel


HALF_CLOSED_SECONDS = 10.0
"""Seconds the server may still be silent after our input ended."""


def stream(tunnel: Tunnel, source: int, sink: int, greeting: bytes = b"") -> int:
    """Copy bytes between two file descriptors and a tunnel; return the exit code.

    `greeting` has arrived already. The channel protocol has no half-close: when our input ends, the rest of the
    answer is still delivered, until the server closes or says nothing for HALF_CLOSED_SECONDS.
    """
    from devctl.ssh.port_forward import DATA, connection_failure
    from devservers_core.client.streams import CHUNK, PING_EVERY, StreamClosedError

    channels = tunnel.channels
    reading = True
    last = time.monotonic()
    next_ping = last + PING_EVERY
    reader_gone = select.poll()
    reader_gone.register(sink, 0)  # only errors: the reader of our output went away
    try:
        write_all(sink, greeting)
        while True:
            now = time.monotonic()
            if not reading and now - last >= HALF_CLOSED_SECONDS:
                return 0
            if now >= next_ping:
                channels.ping()
                next_ping = now + PING_EVERY
            wake = next_ping if reading else min(next_ping, last + HALF_CLOSED_SECONDS, now + 1)
            ready = channels.wait([source] if reading and not channels.congested else [], max(wake - now, 0))
            if source in ready:
                data = os.read(source, CHUNK)
                if data:
                    channels.send(DATA, data)
                else:
                    reading, last = False, time.monotonic()
            if not reading and reader_gone.poll(0):
                return 0
            data = tunnel.receive()
            if data:
                write_all(sink, data)
                last = time.monotonic()
    except StreamClosedError as closed:
        if closed.code not in (1000, 1005, 1006):
            raise connection_failure(tunnel.name, str(closed)) from None
        return 0
    except BrokenPipeError:
        return 0
    finally:
        channels.close()
