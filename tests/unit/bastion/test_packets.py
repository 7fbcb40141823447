"""What one process writes at once is read as one record."""

from __future__ import annotations

import asyncio
import io
import os

import pytest

from bastion.supervisor.packets import Packets, pipe, plain


def test_packets_are_one_record_a_write_until_the_last_writer_closes() -> None:
    written = [b"one\r\n", b"two\r\nAccepted\r\n", b"\n", b"x" * 1023 + b"\n", *(b"%d\n" % n for n in range(200))]

    async def main(stream: io.FileIO) -> list[str | None]:
        _, packets = await asyncio.get_running_loop().connect_read_pipe(Packets, stream)
        return [await asyncio.wait_for(packets.next(), 10) for _ in range(len(written) + 1)]

    ours, theirs = pipe()
    for each in written:  # all of them before anything is read
        os.write(theirs, each)
    os.close(theirs)
    with io.FileIO(ours, "rb") as stream:
        *records, end = asyncio.run(main(stream))
    assert records == ["one", "two\\015\\012Accepted", "", "x" * 1023, *map(str, range(200))]
    assert end is None


@pytest.mark.parametrize(
    ("packet", "line"),
    [
        (b"a\n\n", "a\\012"),
        (b"a\r\r\n", "a\\015"),
        (b"\x1b[2J\x00\x7f", "\\033[2J\\000\\177"),
        ("\x85\u2028\u00e9".encode(), "\\205\\20050\u00e9"),
        (b"\xff", "\ufffd"),
    ],
)
def test_plain_of_a_record_is_one_line_of_visible_text(packet: bytes, line: str) -> None:
    assert plain(packet) == line
