"""Decides whether a request may be sent again on another connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

SAFE_METHODS = frozenset({"GET", "HEAD"})
"""Methods that change nothing (RFC 9110 section 9.2.1); the others are not idempotent at the API server."""


def may_repeat(method: str, error: Exception, sent: bool) -> bool:
    """Whether a request that failed on a kept connection may go out once more, on a new one.

    RFC 9110 section 9.2.2: a method that is not idempotent is repeated only if the request is known not to have been
    carried out. It is when the connection was closed before the whole request could be written: the API server reads
    a body to its end before it acts. After the last byte nobody can know, and a time-out says nothing at all.
    """
    return method in SAFE_METHODS or not (sent or isinstance(error, TimeoutError))


def is_closed(sock: socket.socket) -> bool:
    """Whether an idle connection has ended: before a request, the server has nothing else to say.

    So a connection that was closed while it was idle is found before anything is written to it, as Go's net/http does.
    """
    import select

    poll = select.poll()
    poll.register(sock, select.POLLIN)
    if not poll.poll(0):
        return False
    sock.setblocking(False)
    try:
        sock.recv(1)
    except BlockingIOError:
        return False
    except OSError as error:
        # TLS had something of its own to say: the connection stands.
        return type(error).__name__ not in ("SSLWantReadError", "SSLWantWriteError")
    return True
