"""A reader sees whole generations only, and an empty list takes nobody's account."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bastion.accounts.__main__ import put
from bastion.accounts.access import Access
from bastion.accounts.render import Rendered, render
from bastion.accounts.store import Store, read_state
from bastion.paths import Paths
from tests.support.bastion.accounts import key, person

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOBODY = render([], [], "/session")


def some(count: int) -> Rendered:
    """The files of so many people."""
    return render([person(f"user{n}", 20000 + n, sshPublicKeys=[key(n)]) for n in range(count)], [], "/session")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = Paths(tmp_path)
    found.accounts.mkdir(parents=True)
    return found


def test_store_writes_a_generation_and_keeps_the_one_before(paths: Paths) -> None:
    store = Store(paths, lambda: NOW)
    for count in (1, 2, 3):
        state = store.put(some(count))
        assert (state.generation, state.accounts) == (count, count)
    assert (paths.current / "passwd").read_text().count("\n") == 3
    assert sorted(p.name for p in paths.accounts.iterdir()) == ["current", "generation-2", "generation-3"]
    assert read_state(paths) == state
    assert (paths.current / "keys" / "user2").stat().st_mode & 0o777 == 0o644


def test_store_of_unchanged_files_writes_nothing(paths: Paths) -> None:
    at = [NOW]
    store = Store(paths, lambda: at[0])
    store.put(some(1))
    at[0] += timedelta(minutes=6)
    assert read_state(paths).stale(at[0])  # type: ignore[union-attr]
    assert store.put(some(1)).generation == 1
    assert not read_state(paths).stale(at[0])  # type: ignore[union-attr]


@pytest.mark.parametrize("restarted", [False, True])
def test_store_refuses_an_empty_list_after_a_full_one(paths: Paths, restarted: bool) -> None:
    store = Store(paths, lambda: NOW)
    store.put(some(2), listed=True)
    store = Store(paths, lambda: NOW) if restarted else store
    state = store.put(NOBODY, listed=True)
    assert state.refused == "the cluster lists no accounts, there were 2; the old ones stay in force"
    assert "user1" in (paths.current / "passwd").read_text()
    assert read_state(paths) == state
    # The list is full again: the alert is over.
    assert store.put(some(2), listed=True).refused is None


def test_store_obeys_the_deletion_of_the_last_user(paths: Paths) -> None:
    store = Store(paths, lambda: NOW)
    store.put(some(1), listed=True)
    state = store.put(NOBODY)
    assert (state.accounts, state.refused) == (0, None)
    assert (paths.current / "passwd").read_text() == ""


def test_store_takes_an_empty_list_at_first(paths: Paths) -> None:
    assert read_state(paths) is None
    assert Store(paths).put(NOBODY, listed=True).accounts == 0


def test_store_of_a_new_process_continues_the_generations(paths: Paths) -> None:
    Store(paths).put(some(2))
    (paths.accounts / "generation-2").mkdir()  # of a writer that was killed before its rename
    (paths.accounts / "generation-2" / "rubbish").touch()
    assert Store(paths).put(some(3)).generation == 2
    assert not (paths.current / "rubbish").exists()


def test_store_readers_never_see_half_a_generation(paths: Paths) -> None:
    store = Store(paths)
    store.put(some(1))
    stop, wrong = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            folder = paths.accounts / paths.current.readlink()
            try:
                people = (folder / "passwd").read_text().count("\n")
                whole = len(list((folder / "keys").iterdir())) == people
                # One that was replaced meanwhile may be on its way out.
                if not whole and paths.accounts / paths.current.readlink() == folder:
                    wrong.append(people)
            except FileNotFoundError:
                if paths.accounts / paths.current.readlink() == folder:
                    wrong.append(-1)

    reader = threading.Thread(target=read)
    reader.start()
    for count in range(2, 40):
        store.put(some(count))
    stop.set()
    reader.join()
    assert wrong == []


def test_access_follows_the_generation_in_force(paths: Paths) -> None:
    store, access = Store(paths), Access(paths)
    assert access.refusal("user0", None, NOW) == "your account was removed"
    named = [{"name": "a", "key": key(5), "expires": "2026-11-21T12:00:00Z"}]
    store.put(render([person("ann", sshKeys=named)], [], "/session"))
    plain, ended = access_keys(paths)
    assert access.refusal("ann", plain, NOW) is None
    assert access.refusal("ann", ended, NOW - timedelta(seconds=1)) is None
    assert access.refusal("ann", ended, NOW) == "the key you logged in with ended at 2026-11-21T12:00:00Z"
    assert access.refusal("ann", "SHA256:other", NOW) == "the key you logged in with was removed"
    assert access.user_of(20000) == "ann"
    assert not access.locked_out("ann", NOW)  # one key has no end
    store.put(render([person("ann", sshPublicKeys=[], sshKeys=named)], [], "/session"))
    assert [access.locked_out("ann", NOW - timedelta(seconds=1)), access.locked_out("ann", NOW)] == [False, True]
    store.put(render([person("ann", sshKeys=named, suspended=True)], [], "/session"))
    assert access.locked_out("ann", NOW - timedelta(seconds=1))
    assert access.user_of(20000) == "ann"
    store.put(some(1))
    assert access.locked_out("ann", NOW)
    assert access.refusal("ann", plain, NOW) == "your account was removed"
    assert access.uids() == {"user0": 20000}


def access_keys(paths: Paths) -> list[str]:
    """The fingerprints of the one account, the one without an end first."""
    import json

    ends = json.loads((paths.current / "access.json").read_text())["ann"]["keys"]
    return sorted(ends, key=lambda each: ends[each] is not None)


def test_store_links_unchanged_files_of_the_generation_before(paths: Paths) -> None:
    store = Store(paths, lambda: NOW)
    for count in (2, 3):
        store.put(some(count))
    before, now = (paths.accounts / f"generation-{n}" for n in (1, 2))
    for name, shared in (("keys/user0", True), ("keys/user1", True), ("passwd", False), ("state.json", False)):
        assert (before / name).samefile(now / name) == shared, name


def test_store_that_cannot_write_keeps_what_is_in_force_and_retries(
    paths: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(paths, lambda: NOW)
    before = store.put(some(1))
    (paths.accounts / "generation-2").write_text("in the way")
    assert put(store, some(2), listed=False) is None
    assert "the accounts cannot be written" in caplog.text
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert store.state == read_state(paths) == before
    (paths.accounts / "generation-2").unlink()
    after = put(store, some(2), listed=False)
    assert after is not None
    assert (after.generation, after.accounts) == (2, 2)
    assert read_state(paths) == after
