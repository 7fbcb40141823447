"""Reads the frames that a server's agent sends about a run.

A frame is a line of JSON; `length` bytes of output follow it.

Invariant: frames come from what runs in the server, so their sizes are limited and each field is checked. Only the
output is passed on as it is, as ssh does.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import IO, TYPE_CHECKING, NamedTuple

from devctl.resources.runs.reference import check_run_name
from devservers_core.errors import FAILURE, CommandError

if TYPE_CHECKING:
    from devservers_core.types import Json

MAX_LINE_BYTES = 2**20
"""Of the JSON of a frame: that of a run has at most 256 KiB, the indices of 20,000 files need 140 KiB."""
MAX_OUTPUT_BYTES = 2**20
"""Of the output that follows it: the agent sends pieces of 32 KiB, with a rank before each line."""
MAX_REASON = 1000
"""Characters of a refusal that are shown."""
_START = b'{"kind":'


class Frame(NamedTuple):
    """One frame: its kind (need, started, output, heard, ended or refused), its fields, and its output."""

    kind: str
    fields: Json
    output: bytes = b""

    def run(self) -> str:
        """The name of the run that has started. Raises CommandError."""
        run = self.fields.get("run")
        try:
            return check_run_name(run if isinstance(run, str) else "")
        except CommandError:
            raise unexpected(f"{str(run)[:80]!r} is no name of a run") from None

    def need(self, count: int) -> list[int]:
        """The indices of the files asked for, of `count` files. Raises CommandError."""
        need = self.fields.get("need") or []
        if not isinstance(need, list) or not all(type(at) is int and 0 <= at < count for at in need):
            raise unexpected("it asks for files that are not in the list")
        if any(after <= before for before, after in pairwise(need)):
            raise unexpected("it asks for a file twice, or not in order")
        return need

    def next(self, before: int) -> int:
        """The offset at which the output goes on after this piece, not below `before`. Raises CommandError."""
        return _whole(self.fields, "next", before, 2**63)

    def record(self) -> Json:
        """How the run ended: `state` (ended or lost), and `exitCode`, any whole number. Raises CommandError."""
        record = self.fields.get("record")
        if not isinstance(record, dict) or record.get("state") not in ("ended", "lost"):
            raise unexpected("it does not say how the run ended")
        _whole(record, "exitCode", -(2**63), 2**63)
        return record


def read_frame(stream: IO[bytes]) -> Frame | None:
    """Read the next frame; None at the end of the stream, also within a frame.

    Lines that are no frames come before the first one: what a person's own shell files print.

    Raises CommandError for what no agent sends.
    """
    skipped = 0
    while line := stream.readline(MAX_LINE_BYTES):
        fields = _fields(line)
        if fields is None:
            skipped += len(line)
            if skipped >= MAX_LINE_BYTES:
                raise unexpected(f"more than {MAX_LINE_BYTES >> 20} MiB that is no answer of it")
            continue
        length = _whole({"length": 0} | fields, "length", 0, MAX_OUTPUT_BYTES + 1)
        output = stream.read(length) if length else b""
        return Frame(fields["kind"], fields, output) if len(output) == length else None
    return None


def refusal(frame: Frame) -> CommandError:
    """The error of a frame of kind `refused`, whose text is `what; remedy`."""
    text = str(frame.fields.get("error") or "the server gave no reason")[:MAX_REASON]
    what, _, remedy = text.partition("; ")
    return CommandError(what, remedy or "`devctl runs NAME` lists the runs", FAILURE)


def unexpected(what: str) -> CommandError:
    """The error of an answer that the agent never gives."""
    return CommandError(
        f"the server answered what its agent never sends: {what}",
        "see what its shell files print with `devctl ssh NAME true`; `devctl restart NAME` starts the agent anew",
        FAILURE,
    )


def _fields(line: bytes) -> Json | None:
    """The fields of a line that is a frame."""
    if not line.startswith(_START) or not line.endswith(b"\n"):
        return None
    try:
        fields: Json = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields["kind"], str) else None


def _whole(fields: Json, name: str, least: int, below: int) -> int:
    number = fields.get(name)
    if type(number) is not int or not least <= number < below:
        raise unexpected(f"{name} is {str(number)[:80]!r}")
    return number
