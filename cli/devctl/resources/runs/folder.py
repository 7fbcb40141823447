"""Lists the files of a folder that a run is made of.

Files that git ignores are left out (gitignore(5), with each folder's own .gitignore), and those of .devctlignore files,
which have the same form and win over .gitignore. `.git` itself is never sent.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from devservers_core.errors import NOT_FOUND, REFUSED, CommandError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILES = (".gitignore", ".devctlignore")
"""In the order in which they count; the last pattern that fits decides."""
MAX_FILES = 20_000
MAX_BYTES = 2 * 2**30
_NEVER = frozenset({".git"})
_GIB, _MIB = 2**30, 2**20


@dataclass(frozen=True)
class Folder:
    """A folder, and its files by their paths within it, sorted."""

    root: Path
    files: tuple[str, ...]
    size: int
    """Bytes of all files."""


def read_folder(root: Path, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES) -> Folder:
    """The folder as it is to be sent. Raises CommandError when it is too large or can't be read."""
    if not root.is_dir():
        raise CommandError(f"there is no folder {root}", "name one with --dir", NOT_FOUND)
    files: list[str] = []
    sizes: Counter[str] = Counter()
    stack: list[tuple[str, tuple[tuple[str, GitIgnoreSpec], ...]]] = [("", ())]
    while stack:
        folder, rules = stack.pop()
        try:
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
            rules = (*rules, *_rules(root, folder, {entry.name for entry in entries}))
        except OSError as error:
            raise CommandError(
                f"{root / folder} can't be read: {error.strerror}", "leave it out by a line in .devctlignore", REFUSED
            ) from None
        for entry in entries:
            path = f"{folder}{entry.name}"
            if entry.name in _NEVER or _is_ignored(rules, path, is_folder=entry.is_dir(follow_symlinks=False)):
                continue
            if entry.is_dir(follow_symlinks=False):
                stack.append((f"{path}/", rules))
            elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                files.append(path)
                sizes[path.partition("/")[0]] += entry.stat(follow_symlinks=False).st_size
    size = sizes.total()
    if len(files) > max_files or size > max_bytes:
        raise _too_large(root, len(files), size, sizes, max_files, max_bytes)
    return Folder(root, tuple(sorted(files)), size)


def _rules(root: Path, folder: str, names: set[str]) -> list[tuple[str, GitIgnoreSpec]]:
    """The patterns of a folder's own ignore files, with the folder that they are about."""
    from pathspec import GitIgnoreSpec

    present = [name for name in IGNORE_FILES if name in names]
    texts = [(root / folder / name).read_text(errors="surrogateescape") for name in present]
    return [(folder, GitIgnoreSpec.from_lines(text.splitlines())) for text in texts]


def _is_ignored(rules: tuple[tuple[str, GitIgnoreSpec], ...], path: str, *, is_folder: bool) -> bool:
    for folder, spec in reversed(rules):
        found = spec.check_file(path[len(folder) :] + ("/" if is_folder else "")).include
        if found is not None:
            return found
    return False


def _too_large(root: Path, count: int, size: int, sizes: Counter[str], max_files: int, max_bytes: int) -> CommandError:
    largest = ", ".join(f"{name} {_amount(amount)}" for name, amount in sizes.most_common(3))
    return CommandError(
        f"{root} has {count} files of {_amount(size)} (at most {max_files} files and {_amount(max_bytes)} are sent)",
        f"leave out what isn't needed by lines in .devctlignore; the largest are {largest}",
        REFUSED,
    )


def _amount(size: int) -> str:
    return f"{size / _GIB:.1f} GiB" if size >= _GIB else f"{size / _MIB:.1f} MiB"
