"""Reads the frames that a server's agent sends about a run.

A frame is a line of JSON; `length` bytes of output follow it.
"""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, NamedTuple

from devservers_core.errors import FAILURE, CommandError

if TYPE_CHECKING:
    from devservers_core.types import Json

_START = b'{"kind":'


class Frame(NamedTuple):
    """One frame: its kind (need, started, output, ended or refused), its fields, and the output that follows it."""

    kind: str
    fields: Json
    output: bytes = b""


def read_frame(stream: IO[bytes]) -> Frame | None:
    """Read the next frame; None at the end of the stream, also within a frame.

    Lines that are no frames come before the first one: what a person's own shell files print.
    """
    while line := stream.readline():
        if not line.startswith(_START) or not line.endswith(b"\n"):
            continue
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        length = int(fields.get("length") or 0)
        output = stream.read(length) if length else b""
        return Frame(str(fields["kind"]), fields, output) if len(output) == length else None
    return None


def refusal(frame: Frame) -> CommandError:
    """The error of a frame of kind `refused`, whose text is `what; remedy`."""
    what, _, remedy = str(frame.fields.get("error") or "the server gave no reason").partition("; ")
    return CommandError(what, remedy or "`devctl runs NAME` lists the runs", FAILURE)
