"""Which files of a folder a run is made of."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from devctl.resources.runs.folder import read_folder
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
