"""A recording is asciicast v2 at every moment, and a flood does not fill the volume."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from bastion.audit.recording import (
    MAX_BYTES,
    WINDOW_BYTES,
    Recording,
    RecordingNotFoundError,
    frames,
    list_recordings,
    main,
)
from bastion.audit.recording_store import BLOCK, RecordingStore
from bastion.paths import Paths


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_recording_played_back_shows_what_was_shown(tmp_path: Path) -> None:
    clock = Clock()
    recording = Recording(tmp_path, "ann", "s1", (80, 24), clock)
    recording.output("hello ä\x1b[1m\r\n")
    clock.now += 1.5
    recording.resize(120, 40)
    clock.now += 60
    recording.output("bye")
    lines = [json.loads(line) for line in recording.path.read_text().splitlines()]
    assert lines[0] == {"version": 2, "width": 80, "height": 24, "timestamp": 1000, "title": "ann s1"}
    assert lines[1:] == [[0.0, "o", "hello ä\x1b[1m\r\n"], [1.5, "r", "120x40"], [61.5, "o", "bye"]]
    assert list(frames(tmp_path, "s1")) == [(0.0, "hello ä\x1b[1m\r\n"), (2.0, "bye")]
    (found,) = list_recordings(tmp_path)
    assert (found.user, found.session, found.began, found.seconds) == ("ann", "s1", 1000.0, 61.5)
    assert list_recordings(tmp_path, "bob") == []
    assert recording.path.stat().st_mode & 0o777 == 0o600


def test_recording_of_a_flood_counts_what_it_drops(tmp_path: Path) -> None:
    clock = Clock()
    recording = Recording(tmp_path, "ann", "s1", (80, 24), clock)
    for _ in range(100):
        recording.output("x" * 10000)
    clock.now += 11
    recording.output("after")
    recording.close()
    text = recording.path.read_text()
    assert len(text) < WINDOW_BYTES + 5000
    assert '"m", "740000 bytes not recorded"]' in text
    assert list(frames(tmp_path, "s1"))[-1][1] == "after"


def test_recording_beyond_its_size_ends(tmp_path: Path) -> None:
    clock = Clock()
    recording = Recording(tmp_path, "ann", "s1", (80, 24), clock)
    for _ in range(MAX_BYTES // WINDOW_BYTES + 20):
        clock.now += 11
        recording.output("x" * (WINDOW_BYTES - 100))
    recording.close()
    assert MAX_BYTES * 0.99 < recording.path.stat().st_size < MAX_BYTES * 1.01


def test_recordings_under_way_or_broken_can_be_read(tmp_path: Path) -> None:
    recording = Recording(tmp_path, "ann", "s1", (80, 24), Clock())
    recording.output("one")
    with recording.path.open("a") as file:
        file.write('[1.0, "o", "half')
    assert [text for _, text in frames(tmp_path, "s1")] == ["one"]
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob" / "x.cast").write_text("rubbish")
    assert [each.session for each in list_recordings(tmp_path)] == ["s1"]


@pytest.mark.parametrize("session", ["nope", "../ann/s1", "*", "", "/etc/passwd", "a\nb"])
def test_frames_of_no_session_are_refused(tmp_path: Path, session: str) -> None:
    with pytest.raises(RecordingNotFoundError):
        list(frames(tmp_path, session))


def test_recording_of_the_same_session_twice_is_refused(tmp_path: Path) -> None:
    Recording(tmp_path, "ann", "s1", (80, 24))
    with pytest.raises(FileExistsError):
        Recording(tmp_path, "ann", "s1", (80, 24))


def test_playing_a_recording_sends_no_command_to_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BASTION_ROOT", str(tmp_path))
    recording = Recording(Paths(tmp_path).recordings, "ann", "s1", (80, 24))
    recording.output("a\x1b]52;c;cm0")
    recording.output("=\x07\x1b[1mb")
    recording.close()
    assert main(["play", "s1", "--speed", "100"]) == 0
    assert capsys.readouterr().out == "a\x1b[1mb"


def test_recording_size_counts_what_is_written(tmp_path: Path) -> None:
    recording = Recording(tmp_path, "ann", "s1", (80, 24), Clock())
    for _ in range(100):
        recording.output("\x00" * 5000)
        recording.resize(80, 24)
    recording.close()
    assert WINDOW_BYTES * 0.8 < recording.path.stat().st_size < WINDOW_BYTES + 1000


def test_recording_store_evicts_the_oldest_finished_recording(tmp_path: Path) -> None:
    store = RecordingStore(tmp_path, 3 * BLOCK + 3000)
    for name in ("s1", "s2"):
        done = Recording(tmp_path, "ann", name, (80, 24), store=store)
        done.output("x" * 1000)
        done.close()
    open_one = Recording(tmp_path, "bob", "s3", (80, 24), store=store)
    open_one.output("x" * 1500)
    assert {each.session for each in list_recordings(tmp_path)} == {"s2", "s3"}
    again = RecordingStore(tmp_path, 3 * BLOCK)
    assert again.reserve("carol", 2 * BLOCK)
    assert not list(tmp_path.glob("ann/*"))
    full = RecordingStore(tmp_path / "none", 2 * BLOCK)
    last = Recording(tmp_path / "none", "ann", "s4", (80, 24), Clock(), store=full)
    last.output("x" * 10000)
    last.close()
    assert "10000 bytes not recorded" in last.path.read_text()


def test_recording_store_refuses_a_full_user_in_bounded_time(tmp_path: Path) -> None:
    """The audit process is everybody's: a refusal may not cost a look at what everybody has recorded."""

    def seconds(others: int) -> float:
        store = RecordingStore(tmp_path / "none", 10**12, BLOCK)
        for number in range(others):
            store.mark_finished(tmp_path / "bob" / f"{number}.cast", 0)
        assert store.reserve("ann", BLOCK)
        best = 1e9
        for _ in range(5):
            begin = time.perf_counter()
            assert not any(store.reserve("ann", 1) for _ in range(200))
            best = min(best, time.perf_counter() - begin)
        return best

    assert seconds(20_000) < 20 * seconds(0)


def test_recording_store_evicts_a_users_own_recordings_first(tmp_path: Path) -> None:
    store = RecordingStore(tmp_path, 10 * BLOCK, 3 * BLOCK)
    Recording(tmp_path, "bob", "b1", (80, 24), store=store).close()
    for number in range(20):
        Recording(tmp_path, "ann", f"a{number}", (80, 24), store=store).close()
    assert {each.session for each in list_recordings(tmp_path)} == {"b1", "a17", "a18", "a19"}
    under_way = [Recording(tmp_path, "ann", f"u{number}", (80, 24), store=store) for number in range(3)]
    with pytest.raises(OSError, match="fill their room"):
        Recording(tmp_path, "ann", "u3", (80, 24), store=store)
    Recording(tmp_path, "bob", "b2", (80, 24), store=store).close()
    # What an earlier process left counts as well.
    again = RecordingStore(tmp_path, 10 * BLOCK, 3 * BLOCK)
    assert not again.reserve("ann", 4 * BLOCK)
    assert {each.user for each in list_recordings(tmp_path)} == {"bob"}
    for each in under_way:
        each.close()
