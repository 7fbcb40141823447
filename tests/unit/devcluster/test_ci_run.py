"""What .ci/run does around the tests, with stand-ins for `make` and Python: the order, the end, and the exit code."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from devcluster import ROOT
from tests.support.wait import eventually

CLOSING = "94 passed, 1 deselected in 300.12s (0:05:00)"
MAKE = """#!/bin/bash
for word in "$@"; do case $word in -*) ;; *) break ;; esac; done
echo "$word ${XDG_STATE_HOME:-none}" >> "$CALLS"
case $word in
  test)
    echo "3 passed in 1.00s"; echo "%s"; echo "make: the last word"
    [ -z "$HANGS" ] || {
      trap 'echo "test ended" >> "$CALLS"; exit 2' TERM
      echo "test hangs" >> "$CALLS"; sleep 60 & wait
    }
    exit "${TEST:-0}" ;;
  up) exit "${UP:-0}" ;;
  down) exit "${DOWN:-0}" ;;
esac
"""
PYTHON = """#!/bin/bash
echo "$2 ${XDG_STATE_HOME:-none}" >> "$CALLS"
case $2 in
  tests.support.own_platform) [ -z "$WATCHLESS" ] || exit 1; echo watching; read -r; exit "${BESIDE:-0}" ;;
  tests.support.leftovers) exit "${LEFT:-0}" ;;
esac
"""


class Checkout:
    """A folder with .ci/run and the stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".ci").mkdir()
        shutil.copy(ROOT / ".ci" / "run", folder / ".ci" / "run")
        self._put(folder / "bin" / "make", MAKE % CLOSING)
        self._put(folder / ".venv" / "bin" / "python", PYTHON)
        (folder / "tmp").mkdir()
        self.environment = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "TMPDIR": str(folder / "tmp"),
            "CALLS": str(folder / "calls"),
        }

    @staticmethod
    def _put(file: Path, text: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.folder / ".ci" / "run")]
        return subprocess.run(
            command, env=self.environment | environment, capture_output=True, text=True, timeout=60, check=False
        )

    def calls(self) -> list[list[str]]:
        file = self.folder / "calls"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def named(self) -> list[str]:
        return [call[0] for call in self.calls()]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_tests_run_between_up_and_down_with_a_state_folder_of_the_platforms_own(checkout: Checkout) -> None:
    done = checkout.run()
    assert done.returncode == 0, done.stderr
    assert checkout.named() == ["up", "tests.support.own_platform", "test", "down", "tests.support.leftovers"]
    states = {call[0]: call[1] for call in checkout.calls()}
    assert states["test"] == "none"
    assert states["up"] == states["down"] == states["tests.support.own_platform"] == states["tests.support.leftovers"]
    assert states["up"].startswith(str(checkout.folder / "tmp"))
    assert done.stdout.splitlines()[-1] == CLOSING
    assert list((checkout.folder / "tmp").iterdir()) == []


@pytest.mark.parametrize("failing", ["TEST", "BESIDE", "DOWN", "LEFT"])
def test_any_failure_is_the_exit_code_and_the_closing_line_is_last_all_the_same(
    checkout: Checkout, failing: str
) -> None:
    done = checkout.run(**{failing: "2"})
    assert done.returncode != 0
    assert "down" in checkout.named()
    assert done.stdout.splitlines()[-1] == CLOSING
    assert list((checkout.folder / "tmp").iterdir()) == []


@pytest.mark.parametrize("failing", [{"UP": "1"}, {"WATCHLESS": "1"}])
def test_a_platform_that_does_not_come_up_is_taken_down_and_nothing_is_tested(
    checkout: Checkout, failing: dict[str, str]
) -> None:
    done = checkout.run(**failing)
    assert done.returncode != 0
    assert "test" not in checkout.named()
    assert "down" in checkout.named()
    assert list((checkout.folder / "tmp").iterdir()) == []


def test_a_signal_ends_the_tests_and_takes_the_platform_down(checkout: Checkout) -> None:
    command = [str(checkout.folder / ".ci" / "run")]
    running = subprocess.Popen(command, env=checkout.environment | {"HANGS": "1"}, stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: ["test", "hangs"] in checkout.calls(), "the tests to begin", report=checkout.calls)
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 143
    finally:
        running.kill()
    assert checkout.calls()[-3][:2] == ["test", "ended"]
    assert checkout.named()[-2:] == ["down", "tests.support.leftovers"]
    assert list((checkout.folder / "tmp").iterdir()) == []
