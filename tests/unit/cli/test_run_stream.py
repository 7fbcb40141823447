"""Tests how a run is started and followed over connections that are cut."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, cast

import pytest

from devctl.output import console
from devctl.resources.runs import transfer
from devctl.resources.runs.folder import read_folder
from devctl.ssh import run_stream
from devctl.ssh.run_stream import RunStream
from devctl.ssh.server_stream import ConnectionFailure, ServerStream
from devservers_core.errors import TRANSPORT, CommandError

AGENT = Path(__file__).parents[2] / "support" / "cli" / "run_agent.py"


class Connector:
    """Starts the stand-in of the agent; `stopped` is what it says of a server that has been stopped."""

    name = "mydev"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stopped: CommandError | None = None
        self.agent = [sys.executable, str(AGENT), str(folder)]
        self.command = self.agent
        self.starting = False
        self.started, self.failing_after = 0, 1000
        self.errors: dict[int, CommandError] = {}

    def start(self, words: Sequence[str]) -> ServerStream:
        self.started += 1
        if self.started in self.errors:
            raise self.errors[self.started]
        if self.started > self.failing_after:
            self.command = ["false"]
        if self.stopped:
            raise self.stopped
        log = cast("IO[bytes]", tempfile.TemporaryFile())  # noqa: SIM115 - the stream closes it
        return ServerStream([*self.command, *words], log)

    def failure(self, messages: str) -> ConnectionFailure:
        if self.starting:
            self.starting, self.command = False, self.agent
            return ConnectionFailure(CommandError("it starts", "wait", TRANSPORT), passed=True)
        return ConnectionFailure(CommandError(f"no connection: {messages}", "try again", TRANSPORT))


@pytest.fixture
def connector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connector:
    for name, text in {"output": "", "cuts": "", "code": "0", "record": "{}"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(run_stream, "RETRY_SECONDS", 0.01)
    return Connector(tmp_path)


def words(connector: Connector) -> list[list[str]]:
    return [json.loads(line) for line in (connector.folder / "words").read_text().splitlines()]


def test_run_sends_the_files_asked_for_and_passes_the_exit_code_on(
    connector: Connector, tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path_factory.mktemp("work")
    (folder / "train.py").write_text("print('hello')\n")
    (folder / "same.txt").write_text("not asked for")
    (folder / "empty").write_text("")
    (folder / "link").symlink_to("./train.py")
    (connector.folder / "output").write_text("[0] hello\n")
    (connector.folder / "code").write_text("3")
    files = transfer.entries(read_folder(folder))
    assert RunStream(connector).start(["--mirror", "m", "--", "x"], files, detach=False) == 3
    shown = capfd.readouterr()
    assert shown.out == "[0] hello\n"
    assert shown.err == "sent 3 of 4 files, 0.0 MiB\nrun try started in mydev\nrun try failed with exit code 3\n"
    received = json.loads((connector.folder / "received").read_text())
    assert received == {"empty": "", "link": "./train.py", "train.py": "print('hello')\n"}
    assert words(connector) == [["run", "--stream", "--mirror", "m", "--", "x"]]


def test_connection_that_is_cut_five_times_loses_no_line_and_repeats_none(
    connector: Connector, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = "".join(f"[0] line {number}\n" for number in range(20_000))
    (connector.folder / "output").write_text(lines)
    (connector.folder / "cuts").write_text("5\n1234\n77777\n1\n100000")
    assert RunStream(connector).start(["--", "x"], None, detach=False) == 0
    shown = capfd.readouterr()
    assert shown.out == lines
    assert shown.err.count("the connection was cut; run try goes on, connecting again\n") == 5
    offsets = [call[call.index("--from") + 1] for call in words(connector)[1:]]
    assert offsets == ["5", "1239", "79016", "79017", "179017"]


def test_attach_fails_at_once_when_the_first_connection_fails(connector: Connector) -> None:
    connector.command = [sys.executable, "-c", "import sys; sys.exit('no route')"]
    with pytest.raises(CommandError, match="no connection: no route"):
        RunStream(connector, "try").attach()
    connector.stopped = CommandError("mydev is stopped", "`devctl start mydev --wait` starts it", TRANSPORT)
    with pytest.raises(CommandError, match="mydev is stopped"):
        RunStream(connector, "try").attach()


def test_server_that_is_stopped_after_a_cut_ends_the_wait(connector: Connector) -> None:
    (connector.folder / "cuts").write_text("0")
    stream = RunStream(connector)

    def stop() -> None:
        while not (connector.folder / "words").exists():
            time.sleep(0.01)
        connector.stopped = CommandError("mydev is stopped", "start it", TRANSPORT)

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(CommandError, match="mydev is stopped"):
        stream.start(["--", "x"], None, detach=False)
    thread.join()


@pytest.mark.parametrize("sends", [True, False])
def test_refusal_of_the_server_is_two_lines_and_nothing_is_sent(
    connector: Connector, tmp_path_factory: pytest.TempPathFactory, sends: bool
) -> None:
    folder = tmp_path_factory.mktemp("work")
    (folder / "train.py").write_text("x" * 3_000_000)
    (connector.folder / "refused").write_text("there is a run try already; give this one another name")
    files = transfer.entries(read_folder(folder)) if sends else None
    with pytest.raises(CommandError) as refused:
        RunStream(connector).start(["--mirror", "m", "--", "x"], files, detach=False)
    assert refused.value.what == "there is a run try already"
    assert refused.value.remedy == "give this one another name"
    assert not (connector.folder / "received").exists()


@pytest.mark.parametrize("attach", [True, False])
def test_server_that_was_starting_is_connected_to_again(
    connector: Connector, capfd: pytest.CaptureFixture[str], attach: bool
) -> None:
    connector.starting, connector.command = True, ["false"]
    (connector.folder / "output").write_text("[0] up\n")
    stream = RunStream(connector, "try")
    assert (stream.attach() if attach else stream.start(["--", "x"], None, detach=False)) == 0
    assert capfd.readouterr().out == "[0] up\n"


def test_detached_run_prints_its_name(connector: Connector, capfd: pytest.CaptureFixture[str]) -> None:
    assert RunStream(connector).start(["--detach", "--", "x"], None, detach=True) == 0
    assert capfd.readouterr().out == "try\n"


def test_run_that_was_lost_with_its_server_is_an_error(connector: Connector) -> None:
    (connector.folder / "record").write_text('{"state": "lost"}')
    with pytest.raises(CommandError, match="run try was lost: mydev stopped while it ran"):
        RunStream(connector, "try").attach()


def interrupt_when(done: Callable[[], bool]) -> threading.Thread:
    def wait() -> None:
        while not done():
            time.sleep(0.01)
        time.sleep(0.5)  # until it waits for the server: between two reads a signal would wait for the next frame
        signal.pthread_kill(cast("int", threading.main_thread().ident), signal.SIGINT)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_first_interrupt_asks_the_run_to_end_and_the_second_kills_it(
    connector: Connector, capfd: pytest.CaptureFixture[str]
) -> None:
    (connector.folder / "until").write_text("kill")
    (connector.folder / "record").write_text('{"exitCode": 137, "canceled": true}')
    said = connector.folder / "said"
    first = interrupt_when(lambda: (connector.folder / "words").exists() and bool(capfd.readouterr().err))
    stream = RunStream(connector)
    second = interrupt_when(lambda: stream._confirmed)
    before = signal.getsignal(signal.SIGINT)
    assert stream.start(["--", "x"], None, detach=False) == 137
    first.join()
    second.join()
    assert said.read_text() == "cancel\nkill\n"
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(console, "info", said.append)
    return said


def test_interrupt_on_a_dead_connection_is_sent_again_and_a_second_one_kills_nothing(
    connector: Connector, messages: list[str]
) -> None:
    (connector.folder / "until").write_text("cancel")
    dead = connector.folder / "dead"
    dead.write_text("")

    def revive() -> None:
        first.join()
        second.join()
        while "has not answered yet" not in messages[-1]:
            time.sleep(0.01)
        dead.unlink()

    first = interrupt_when(lambda: len(messages) == 1)
    second = interrupt_when(lambda: len(messages) == 2)
    third = threading.Thread(target=revive)
    third.start()
    assert RunStream(connector).start(["--", "x"], None, detach=False) == 0
    third.join()
    assert (connector.folder / "said").read_text() == "cancel\n"
    assert messages == [
        "run try started in mydev",
        "\nasking the run to end; Ctrl-C again kills it",
        "\nmydev has not answered yet: devctl asks again when it has connected again;"
        " `devctl cancel mydev try --kill` kills the run",
        "the connection was cut; run try goes on, connecting again",
    ]


def test_interrupt_that_has_reached_the_agent_is_not_sent_again(connector: Connector, messages: list[str]) -> None:
    (connector.folder / "until").write_text("cancel")
    (connector.folder / "cuts").write_text("0")
    thread = interrupt_when(lambda: len(messages) == 1)
    assert RunStream(connector).start(["--", "x"], None, detach=False) == 0
    thread.join()
    assert len(words(connector)) == 2
    assert (connector.folder / "said").read_text() == "cancel\n"


@pytest.mark.parametrize("error", ["mydev is not running yet", "could not read mydev: etcd leader changed"])
def test_server_that_is_away_after_a_cut_is_tried_again(connector: Connector, error: str) -> None:
    (connector.folder / "cuts").write_text("0")
    connector.errors = {2: CommandError(error, "try again"), 3: CommandError(error, "try again", TRANSPORT)}
    assert RunStream(connector).start(["--", "x"], None, detach=False) == 0
    assert connector.started == 4


def test_reconnecting_ends_after_the_documented_time(connector: Connector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_stream, "GIVE_UP_SECONDS", 0.2)
    (connector.folder / "cuts").write_text("0")
    connector.failing_after = 1
    with pytest.raises(CommandError, match="no connection: "):
        RunStream(connector).start(["--", "x"], None, detach=False)
    assert connector.started > 2


def test_file_that_shrinks_while_it_is_sent_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("12345")
    files = transfer.entries(read_folder(tmp_path))
    (tmp_path / "data").write_text("12")
    with (tmp_path / "out").open("wb") as out, pytest.raises(CommandError, match="data became shorter"):
        transfer.send(files, [0], out)


def test_mirror_of_a_folder_has_a_name_of_its_own(tmp_path: Path) -> None:
    names = set()
    for place in ("a/My Project!", "b/My Project!", "c/...", "d/" + "x" * 200):
        (tmp_path / place).mkdir(parents=True)
        names.add(transfer.mirror_name(tmp_path / place))
    assert len(names) == 4
    assert all(
        len(name) < 64 and name[0].isalnum() and set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-_")
        for name in names
    )
