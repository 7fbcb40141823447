"""Tests that frames of a hostile server are limited and checked before devctl uses them."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

import pytest

from devctl.resources.runs import transfer
from devctl.resources.runs.folder import read_folder
from devctl.resources.runs.frames import MAX_LINE_BYTES, MAX_OUTPUT_BYTES, read_frame
from devctl.ssh.run_stream import RunStream
from devctl.ssh.server_stream import ConnectionFailure, ServerStream
from devservers_core.errors import FAILURE, CommandError

UNEXPECTED = "the server answered what its agent never sends: "


class Endless(io.RawIOBase):
    """A server that never stops; `pieces` counts how often it was read."""

    def __init__(self, text: bytes) -> None:
        super().__init__()
        self.text, self.pieces = text, 0

    def readable(self) -> bool:
        return True

    def readinto(self, into: object) -> int:
        view = memoryview(cast("bytearray", into))
        self.pieces += 1
        assert self.pieces < 1000, "it is read without end"
        view[:] = (self.text * (len(view) // len(self.text) + 1))[: len(view)]
        return len(view)


@pytest.mark.parametrize("text", [b"y", b"y\n", b'{"kind":', b'{"kind":1}\n', b'{"kind":' + b"[" * 5000 + b"\n"])
def test_read_frame_of_an_endless_answer_ends_with_an_error(text: bytes) -> None:
    with pytest.raises(CommandError, match=UNEXPECTED + "more than 1 MiB"):
        read_frame(io.BufferedReader(Endless(text), MAX_LINE_BYTES))


@pytest.mark.parametrize("length", [10**12, MAX_OUTPUT_BYTES + 1, -1, "x", True, [], 1.5])
def test_read_frame_of_a_wrong_length_ends_with_an_error(length: object) -> None:
    line = json.dumps({"kind": "output", "next": 1, "length": length}, separators=(",", ":")).encode()
    with pytest.raises(CommandError, match=UNEXPECTED + "length is"):
        read_frame(io.BytesIO(line + b"\n" + b"x" * 100))


def test_read_frame_takes_the_largest_pieces_of_the_agent() -> None:
    need = b'{"kind":"need","need":' + json.dumps(list(range(20_000))).encode() + b"}\n"
    frame = read_frame(io.BytesIO(b"Welcome\n" + need))
    assert frame is not None
    assert len(frame.need(20_000)) == 20_000
    frame = read_frame(io.BytesIO(b'{"kind":"output","next":1,"length":1048576}\n' + b"x" * MAX_OUTPUT_BYTES))
    assert frame is not None
    assert len(frame.output) == MAX_OUTPUT_BYTES


class Connector:
    """Connects to a server that sends what `text` has."""

    name = "mydev"

    def __init__(self, text: str) -> None:
        self.text = text

    def start(self, words: Sequence[str]) -> ServerStream:
        log = cast("IO[bytes]", tempfile.TemporaryFile())  # noqa: SIM115 - the stream closes it
        return ServerStream(["sh", "-c", 'printf %s "$1"; exec cat > /dev/null', "sh", self.text], log)

    def failure(self, messages: str) -> ConnectionFailure:
        return ConnectionFailure(CommandError("no connection", messages))


def frames(*each: dict[str, object]) -> str:
    return "".join(json.dumps(fields, separators=(",", ":")) + "\n" for fields in each)


@pytest.mark.parametrize("need", [[1], [-1], ["a"], [0, 0], [None], [True], {"a": 1}, "0"])
def test_run_whose_server_asks_for_files_that_it_may_not_ends_with_an_error(need: object, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("x")
    files = transfer.entries(read_folder(tmp_path))
    with pytest.raises(CommandError, match=UNEXPECTED + "it asks for a? ?file"):
        RunStream(Connector(frames({"kind": "need", "need": need}))).start(["--", "x"], files, detach=False)


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("run", ["\x1b]0;x\x07", "a\nb", "", "../up", "A", None, 3, "x" * 64])
def test_run_with_a_name_that_no_run_has_is_not_printed(
    run: object, detach: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError, match="is no name of a run"):
        RunStream(Connector(frames({"kind": "started", "run": run}))).start(["--", "x"], None, detach=detach)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "frame",
    [
        {"kind": "ended"},
        {"kind": "ended", "record": []},
        {"kind": "ended", "record": {"state": "asleep", "exitCode": 0}},
        {"kind": "ended", "record": {"state": "ended"}},
        {"kind": "ended", "record": {"state": "ended", "exitCode": "0"}},
        {"kind": "output"},
        {"kind": "output", "next": -1},
        {"kind": "output", "next": "1"},
        {"kind": "started", "run": "try"},
        {"kind": "\x1b[2J"},
    ],
)
def test_attach_to_a_server_that_sends_other_frames_ends_with_an_error(frame: dict[str, object]) -> None:
    with pytest.raises(CommandError, match=UNEXPECTED):
        RunStream(Connector(frames(frame)), "try").attach()


@pytest.mark.parametrize("code", [-1, 256, 2**40])
def test_exit_code_that_no_command_has_becomes_a_failure(code: int, capfd: pytest.CaptureFixture[str]) -> None:
    record = {"state": "ended", "exitCode": code}
    assert RunStream(Connector(frames({"kind": "ended", "record": record})), "try").attach() == FAILURE
    assert capfd.readouterr().err == (
        f"run try ended with exit code {code}, which no command has: devctl ends with 1\n"
    )


def test_output_is_passed_on_as_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    """As `devctl ssh` and `devctl logs` do: it is what a person's own program prints, with its colours."""
    text = "\x1b[31mred\x1b[0m\r"
    ended = frames({"kind": "ended", "record": {"state": "ended", "exitCode": 0}})
    sent = frames({"kind": "output", "next": len(text), "length": len(text)}) + text + ended
    assert RunStream(Connector(sent), "try").attach() == 0
    assert capfd.readouterr().out.replace("\r\n", "\r") == text
