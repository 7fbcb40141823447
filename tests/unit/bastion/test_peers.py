"""Nobody takes a socket from the others: not by many connections, not by silence, not by a line without an end."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bastion.audit import peers, server
from bastion.audit.peers import MOST_LINE, MOST_PEERS, Peers
from bastion.audit.server import AuditServer
from bastion.paths import FIRST_UID, Paths


def test_a_person_has_so_many_and_others_have_theirs() -> None:
    found = Peers()
    held = [found.one(FIRST_UID) for _ in range(MOST_PEERS)]
    assert all(each.__enter__() for each in held)
    with found.one(FIRST_UID) as room, found.one(FIRST_UID + 1) as others, found.one(0) as supervisor:
        assert (room, others, supervisor) == (False, True, True)
    held.pop().__exit__(None, None, None)
    with found.one(FIRST_UID) as room:
        assert room
    for each in held:
        each.__exit__(None, None, None)
    assert found.nobody()


@pytest.fixture
def root() -> Iterator[Path]:
    """A short one: the path of a socket has 108 bytes (unix(7))."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_who_begins_nothing_or_talks_without_end_is_let_go(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BEGIN_SECONDS", 0.5)
    monkeypatch.setattr(server, "peer_uid", lambda sock: peers.peer_uid(sock) + FIRST_UID)  # a test has one uid only
    paths = Paths(root)
    paths.audit_socket.parent.mkdir(parents=True)

    async def main() -> None:
        audit = AuditServer(paths, "r", out=io.StringIO())
        async with await audit.serve():
            for said in (b"", b"{}\n", b"x" * (2 * MOST_LINE + 1)):
                reader, writer = await asyncio.open_unix_connection(paths.audit_socket)
                writer.write(said)
                with pytest.raises((ConnectionError, EOFError)):
                    async with asyncio.timeout(10):
                        while await reader.readline():
                            pass
                    raise EOFError
                writer.close()
            async with asyncio.timeout(10):
                await audit.quiet()

    asyncio.run(main())
