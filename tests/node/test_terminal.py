"""devctl at a real terminal: start timeline, shells, following logs and questions."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.node.person import Person
from tests.support.node.screen import terminal


def test_create_with_wait_shows_the_stages(ann: Person) -> None:
    with terminal(ann, "create", "shown", "--ephemeral", "--wait", "3m") as screen:
        screen.expect("SSHReady")
        screen.expect("is ready after")
        assert screen.process.wait(30) == 0
        for stage in ("Accepted", "Scheduled", "VolumesReady", "ContainerStarted"):
            assert stage in screen.seen
    ann.devctl("delete", "shown", "--yes")


def test_create_interrupted_by_ctrl_c_leaves_the_server(ann: Person) -> None:
    with terminal(
        ann, "create", "left", "--image", "localhost/devservers/none:x", "--ephemeral", "--wait", "3m"
    ) as screen:
        screen.expect("can't be fetched")
        os.killpg(screen.process.pid, signal.SIGINT)
        screen.expect("no longer waiting")
        assert screen.process.wait(30) == 130
    assert ann.server("left")["spec"]["running"] is True
    with terminal(ann, "delete", "left") as screen:
        screen.expect("left")
        screen.type("n\n")
        assert screen.process.wait(30) != 0
    assert ann.server("left")["metadata"]["name"] == "left"
    with terminal(ann, "delete", "left") as screen:
        screen.expect("left")
        screen.type("y\n")
        assert screen.process.wait(30) == 0
    assert "devserver/left" not in ann.devctl("list", "-o", "name").stdout.splitlines()


@pytest.mark.parametrize("command", ["shell", "ssh"])
def test_shell_follows_the_terminal_size(ann: Person, devserver: str, command: str) -> None:
    with terminal(ann, command, devserver) as screen:
        screen.expect("$ ")  # what is typed before the shell reads may be lost
        screen.type("stty size\n")
        screen.expect("24 100")
        screen.resize(30, 120)
        os.killpg(screen.process.pid, signal.SIGWINCH)
        screen.type("sleep 1; stty size\n")
        screen.expect("30 120")
        screen.type("exit 4\n")
        assert screen.process.wait(30) == 4


def test_logs_with_follow_print_new_lines_until_ctrl_c(ann: Person) -> None:
    ann.devctl("create", "talks", "--ephemeral", "--wait", "3m", "--", "sh", "-c", "echo one; sleep 5; echo two")
    try:
        with terminal(ann, "logs", "-f", "talks") as screen:
            screen.expect("one")
            screen.expect("two", 30)
            os.killpg(screen.process.pid, signal.SIGINT)
            assert screen.process.wait(30) == 130
    finally:
        ann.devctl("delete", "talks", "--yes")


@pytest.mark.parametrize("end", ["stop", "delete"])
def test_logs_with_follow_continue_over_pods_until_the_server_ends(ann: Person, end: str) -> None:
    says = 'cd; echo x >> lives; echo "this is life $(wc -l < lives)."'
    ann.devctl("create", "moves", "--wait", "3m", "--", "sh", "-c", says)
    try:
        with terminal(ann, "logs", "-f", "moves") as screen:
            screen.expect("this is life 1.")
            ann.devctl("exec", "moves", "--", "sh", "-c", "kill 1", check=False)
            screen.expect("moves was started again in its pod")
            screen.expect("this is life 2.")
            ann.devctl("restart", "moves", "--wait", "3m")
            screen.expect("the pod of moves was replaced")
            screen.expect("this is life 3.")
            ann.devctl(end, "moves", *(["--yes"] if end == "delete" else ["--wait", "2m"]))
            screen.expect("moves was deleted" if end == "delete" else "`devctl start moves --wait` starts it")
            assert screen.process.wait(30) == 0
            assert screen.seen.count("this is life") == 3, screen.seen
    finally:
        ann.devctl("delete", "moves", "--yes", "--purge", check=False)
