"""A log record is one line with its time, level and logger, whatever its message holds."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from devservers_core.logs import OneLineFormatter

PROGRAM = """
import logging
from pathlib import Path
from devservers_core import logs
logs.setup("info", Path("/nowhere"))
logging.getLogger("bastion.audit").warning("%s", "first\\nsecond")
logging.getLogger("bastion.audit").debug("unseen")
logging.getLogger("asyncio").info("unseen")
"""


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "\x85", "\x0b"])
def test_formatter_writes_a_message_with_line_breaks_as_one_line(end: str) -> None:
    record = logging.LogRecord("bastion.sshd", logging.INFO, "x.py", 1, f"a{end}b", None, None)
    line = OneLineFormatter(Path("/nowhere")).format(record)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO bastion\.sshd a b", line), line


def test_formatter_names_the_packages_own_frames_of_an_exception() -> None:
    try:
        raise KeyError("ann")
    except KeyError:
        record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "failed", None, sys.exc_info())
    here = Path(__file__)
    line = OneLineFormatter(here.parent).format(record)
    assert re.search(rf"""failed exc="KeyError: 'ann'" at={re.escape(here.name)}:\d+$""", line), line
    assert " at=" not in OneLineFormatter(Path("/nowhere")).format(record)


def test_setup_sends_records_to_stderr_from_its_level_on() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.endswith("Z WARNING bastion.audit first second")
