"""SIGTERM on stop: programs save before their terminal goes away."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.node.person import BIN, Person
from tests.support.node.screen import terminal
from tests.support.node.wait import eventually

SCRIPT = """#!/bin/bash
trap 'echo told >> ~/$1.log; sleep 2; echo saved >> ~/$1.log; exit 0' TERM
echo started >> ~/$1.log
while :; do sleep 0.2; done
"""
WAYS = ("tmux", "window", "ssh", "shell", "tty", "plain", "nohup")


@pytest.fixture
def trainer(ann: Person) -> Iterator[str]:
    """A server whose home has a program that saves its work on SIGTERM."""
    ann.devctl("create", "trainer", "--wait", "3m")
    ann.ssh("trainer", "cat > train.sh; chmod 755 train.sh", text=SCRIPT)
    yield "trainer"
    ann.devctl("delete", "trainer", "--yes", "--purge")


@pytest.mark.timeout(300)
def test_stop_signals_programs_of_every_session_type_before_their_terminal_closes(ann: Person, trainer: str) -> None:
    env = ann.platform.env | {"PATH": f"{BIN}:{ann.platform.env['PATH']}"}
    with ExitStack() as stack:
        ann.ssh(trainer, "tmux new-session -d './train.sh tmux'")
        ann.ssh(trainer, "tmux new-session -d -s other; tmux send-keys -t other './train.sh window' Enter")
        ann.ssh(trainer, "nohup setsid ./train.sh nohup > /dev/null 2>&1 < /dev/null &")
        for way in ("ssh", "shell"):
            screen = stack.enter_context(terminal(ann, way, trainer))
            screen.expect("$ ")
            screen.type(f"./train.sh {way}\n")
        stack.enter_context(terminal(ann, "ssh", trainer, "-t", "./train.sh tty"))
        command = [str(BIN / "devctl"), "ssh", trainer, "./train.sh plain"]
        plain = stack.enter_context(subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL))
        eventually(lambda: _logs(ann, trainer) == {way: ["started"] for way in WAYS}, "all of them to run", 60)
        began = time.monotonic()
        ann.devctl("stop", trainer, "--wait", "1m")
        took = time.monotonic() - began
        plain.wait(30)
    ann.devctl("start", trainer, "--wait", "3m")
    assert _logs(ann, trainer) == {way: ["started", "told", "saved"] for way in WAYS}
    # They need two seconds; nobody waits out the pod's whole time.
    assert took < 20


def _logs(ann: Person, server: str) -> dict[str, list[str]]:
    """What each of the programs wrote, by how it was started."""
    shown = ann.devctl("exec", server, "--", "sh", "-c", "for f in *.log; do sed s/^/${f%.log}./ $f; done", check=False)
    found: dict[str, list[str]] = {}
    for line in shown.stdout.splitlines():
        way, _, word = line.partition(".")
        found.setdefault(way, []).append(word)
    return found
