"""Which files of a folder a run is made of."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from devctl.resources.runs.folder import read_folder, working_folder
from devservers_core.errors import CommandError

TREE = {
    "train.py": "", "data/big.bin": "", "data/keep.bin": "", "data/.gitignore": "*.bin\n!keep.bin\n", "out/log.txt": "",
    "pkg/a.pyc": "", "pkg/a.py": "", "pkg/build/x.o": "", "build/y.o": "", "notes.log": "", "pkg/notes.log": "",
    "deep/er/secret.env": "", "deep/er/ok.txt": "", "with space.txt": "", "naïve.txt": "",
}  # fmt: skip


def tree(root: Path, ignore: str) -> None:
    for name, text in TREE.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / ".gitignore").write_text(ignore)


@pytest.mark.parametrize(
    "ignore",
    [
        "",
        "*.pyc\nout/\n",
        "/build\n*.log\n!pkg/notes.log\n",
        "build/\n**/secret.env\n",
        "deep/**\n",
        "# comment\n\\#odd\n*.o \nwith\\ space.txt\n",
        "data/*\n!data/keep.bin\n",
    ],
)
def test_files_are_those_that_git_would_add(tmp_path: Path, ignore: str) -> None:
    tree(tmp_path, ignore)
    git = ["git", "-c", "core.quotePath=false", "-C", str(tmp_path)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "none"), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run([*git, "init", "-q"], check=True, env=environment)
    listed = subprocess.run(
        [*git, "ls-files", "-z", "--others", "--exclude-standard"], check=True, capture_output=True, text=True,
        env=environment,
    ).stdout  # fmt: skip
    assert read_folder(tmp_path).files == tuple(sorted(name for name in listed.split("\0") if name))


def test_devctlignore_wins_over_gitignore(tmp_path: Path) -> None:
    tree(tmp_path, "*.bin\n")
    (tmp_path / "data/.gitignore").unlink()
    (tmp_path / ".devctlignore").write_text("!data/big.bin\nout/\n")
    files = read_folder(tmp_path).files
    assert "data/big.bin" in files
    assert "data/keep.bin" not in files
    assert "out/log.txt" not in files


def test_links_are_files_and_other_things_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1234")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "outside").symlink_to("/etc")
    os.mkfifo(tmp_path / "fifo")
    folder = read_folder(tmp_path)
    assert folder.files == ("a", "link", "outside")
    assert folder.size == 4 + len("a") + len("/etc")


def test_folder_that_is_too_large_is_refused_with_its_largest_parts(tmp_path: Path) -> None:
    for name, size in (("data/x", 3 * 2**20), ("ckpt/y", 2 * 2**20), ("a", 1), (".venv/z", 2**20)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    with pytest.raises(CommandError) as refused:
        read_folder(tmp_path, max_bytes=2**20)
    assert "has 4 files of 6.0 MiB (at most 20000 files and 1.0 MiB are sent)" in refused.value.what
    assert "the largest are data 3.0 MiB, ckpt 2.0 MiB, .venv 1.0 MiB" in refused.value.remedy
    with pytest.raises(CommandError, match="4 files"):
        read_folder(tmp_path, max_files=3)
    (tmp_path / ".devctlignore").write_text("data\nckpt\n.venv\n")
    assert read_folder(tmp_path, max_bytes=2**20).files == (".devctlignore", "a")


def test_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="there is no folder"):
        read_folder(tmp_path / "none")


def test_rules_above_the_folder_hold_up_to_the_top_of_the_repository(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*\n")  # above the repository
    top = tmp_path / "repository"
    tree(top, "secret.env\n/deep/er/ok.txt\n")
    (top / ".git").mkdir()
    assert read_folder(top / "deep").files == ()
    (top / ".gitignore").write_text("secret.env\n")
    assert read_folder(top / "deep").files == ("er/ok.txt",)


def test_folder_that_is_ignored_itself_is_sent_when_it_is_named(tmp_path: Path) -> None:
    tree(tmp_path, "/build\n*.o\n")
    (tmp_path / ".git").mkdir()
    assert read_folder(tmp_path / "build").files == ("y.o",)


def test_devctlignore_wins_over_a_gitignore_of_a_folder_below(tmp_path: Path) -> None:
    tree(tmp_path, "")
    (tmp_path / ".devctlignore").write_text("keep.bin\n!big.bin\n")
    files = read_folder(tmp_path).files
    assert "data/big.bin" in files
    assert "data/keep.bin" not in files


@pytest.mark.parametrize("line", ["!", "\\", "a\\", "[z-a]"])
def test_pattern_that_matches_nothing_in_git_is_left_out(tmp_path: Path, line: str) -> None:
    tree(tmp_path, f"{line}\n*.log\n")
    files = read_folder(tmp_path).files
    assert "train.py" in files
    assert "notes.log" not in files


def test_pattern_that_would_take_minutes_is_refused(tmp_path: Path) -> None:
    (tmp_path / ("a" * 100)).touch()
    (tmp_path / ".gitignore").write_text("# *a*a*a*a*a*a*a*b\n*a*a*a*a*a*a*a*b\n")
    with pytest.raises(CommandError, match=r"line 2 of .*\.gitignore has more than 5 wildcards"):
        read_folder(tmp_path)


@pytest.mark.parametrize("at", ["", ".."])
def test_home_folder_is_not_sent_without_being_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    home = tmp_path / "ann"
    (home / "project").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / at)
    with pytest.raises(CommandError, match="has your home folder in it"):
        working_folder(None)
    assert working_folder(".") == Path()
    monkeypatch.chdir(home / "project")
    assert working_folder(None) == home / "project"
