"""Signals to the real Pulumi engine: it cancels in order and releases its lock."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from infra import ROOT
from infra.deploy.stack_runner import PulumiError
from tests.support.infra import small_stack
from tests.support.wait import eventually

COMMAND = [sys.executable, "-m", "tests.support.infra.small_stack"]
CANCELLING = "^C received; cancelling"
RUNS = "the program runs"
PATIENCE_SECONDS = 120.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_stack.make(tmp_path)
    return tmp_path


def locks(folder: Path) -> list[Path]:
    return list((folder / "state" / ".pulumi" / "locks").rglob("*.json"))


def default_signals() -> None:
    """A background job of a shell ignores SIGINT, and what it starts would too."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def environment(wait_seconds: float = 0) -> dict[str, str]:
    return os.environ | {"WAIT_SECONDS": str(wait_seconds)}


@contextlib.contextmanager
def updating(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """An update whose program waits, once that runs; with the file of what it prints."""
    printed = folder / "printed"
    with printed.open("wb") as output:
        process = subprocess.Popen(
            [*COMMAND, "up", str(folder)],
            cwd=ROOT,
            env=environment(300),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=default_signals,
        )
    try:
        eventually(lambda: RUNS in printed.read_text(), "the program", PATIENCE_SECONDS, 0.1, report=printed.read_text)
        assert len(locks(folder)) == 1
        yield process, printed
    finally:
        process.kill()
        process.wait()


def up_again(folder: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "up", str(folder)], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "{'answer': 42}" in done.stdout
    assert locks(folder) == []


def engines(folder: Path) -> list[str]:
    """The processes of a folder's stack: the CLI, the language host and the program."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            place = (process / "environ").read_bytes().decode(errors="replace")
            if f"file://{folder / 'state'}" in place and state_of(process) != "Z":
                found.append(command)
    return found


def state_of(process: Path) -> str:
    return (process / "stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize(
    ("number", "times"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGTERM, 2), (signal.SIGHUP, 2)]
)
def test_up_whose_parent_gets_one_signal_cancels_and_leaves_no_lock(
    folder: Path, number: signal.Signals, times: int
) -> None:
    """Twice at once is one event: bash repeats the hang-up of a terminal, and make a SIGTERM to its process group."""
    with updating(folder) as (process, printed):
        for _ in range(times):
            process.send_signal(number)
            time.sleep(0.01)
        assert process.wait(PATIENCE_SECONDS) == 130
    text = printed.read_text()
    assert text.count(CANCELLING) == 1, text
    assert "update canceled" in text, "the engine's own end of it"
    assert "the same command goes on where this one was" in text
    assert locks(folder) == []
    assert engines(folder) == []
    up_again(folder)


def test_up_in_a_terminal_with_one_ctrl_c_cancels_and_leaves_no_lock(folder: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        default_signals()
        os.chdir(ROOT)
        os.execve(COMMAND[0], [*COMMAND, "up", str(folder)], environment(300))
    printed = read_until(terminal, RUNS)
    assert len(locks(folder)) == 1
    assert "\x1b[" in printed, "colours, although Pulumi itself has no terminal"
    os.write(terminal, b"\x03")
    printed += read_until(terminal, None)
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 130, printed
    assert printed.count(CANCELLING) == 1, printed
    assert "update canceled" in printed
    assert locks(folder) == []
    assert engines(folder) == []
    up_again(folder)


def read_until(terminal: int, text: str | None) -> str:
    """What a terminal shows, until a text is there; None for its end."""
    seen, deadline = "", time.monotonic() + PATIENCE_SECONDS
    while text is None or text not in seen:
        assert time.monotonic() < deadline, seen
        if select.select([terminal], [], [], 1)[0]:
            try:
                data = os.read(terminal, 65536)
            except OSError:  # EIO: nobody has the other end any more
                data = b""
            if not data:
                assert text is None, seen
                break
            seen += data.decode(errors="replace")
    return seen


def test_up_whose_parent_gets_two_signals_is_killed_and_the_next_up_drops_its_lock(folder: Path) -> None:
    with updating(folder) as (process, printed):
        process.send_signal(signal.SIGINT)
        eventually(
            lambda: CANCELLING in printed.read_text(),
            "the first signal",
            PATIENCE_SECONDS,
            0.1,
            report=printed.read_text,
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    eventually(
        lambda: engines(folder) == [],
        "the end of every process of the engine",
        PATIENCE_SECONDS,
        0.1,
        report=partial(engines, folder),
    )
    if locks(folder):  # it may have been faster than the second signal
        with pytest.raises(PulumiError, match=r"another update of stack dev runs, or one was killed") as caught:
            small_stack.runner(folder).up()
        assert "`pulumi cancel --stack dev` takes its lock away" in caught.value.remedy
    up_again(folder)


def test_runner_writes_no_stack_file_and_selects_no_stack(folder: Path) -> None:
    up_again(folder)
    subprocess.run([*COMMAND, "preview", str(folder)], cwd=ROOT, env=environment(), check=True, capture_output=True)
    small_stack.runner(folder).destroy()
    assert {each.name for each in folder.iterdir()} == {
        "Pulumi.yaml",
        "__main__.py",
        "__pycache__",
        "home",
        "stacks",
        "state",
    }
    assert not list((folder / "home" / "workspaces").glob("*")), "a selection is kept there"


def test_outputs_and_export_mask_and_encrypt_secrets(folder: Path) -> None:
    stack = small_stack.runner(folder)
    assert stack.up() == {"answer": 42}
    assert stack.outputs() == {"answer": 42, "hidden": "[secret]"}
    assert '"secret"' not in str(stack.export()["deployment"]["resources"])


def test_up_and_preview_ask_no_network(folder: Path) -> None:
    """Every HTTP client of Pulumi and of Python would go through the proxy, which keeps what comes."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        came: list[bytes] = []

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = proxy.accept()
                    came.append(connection.recv(300))
                    connection.close()

        threading.Thread(target=answer, daemon=True).start()
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"), address)
        for command in ("up", "preview"):
            done = subprocess.run(
                [*COMMAND, command, str(folder)],
                cwd=ROOT,
                env=environment() | proxies | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
    assert came == []
