"""Lists the files of a folder that a run is made of.

Files that git ignores are left out (gitignore(5): each folder's own .gitignore, and those above it up to the top of the
repository), and those of .devctlignore files, which have the same form. Any .devctlignore wins over every .gitignore.
`.git` itself is never sent.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from devservers_core.errors import NOT_FOUND, REFUSED, CommandError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

IGNORE_FILES = (".gitignore", ".devctlignore")
"""In the order in which they count: a pattern of the last one decides."""
MAX_FILES = 20_000
MAX_BYTES = 2 * 2**30
MAX_STARS = 5
"""Wildcards of one pattern. Python's regular expressions take minutes for a name that nearly fits one with more."""
_NEVER = frozenset({".git"})
_GIB, _MIB = 2**30, 2**20


@dataclass(frozen=True)
class Folder:
    """A folder, and its files by their paths within it, sorted."""

    root: Path
    files: tuple[str, ...]
    size: int
    """Bytes of all files."""


@dataclass(frozen=True)
class _Ignore:
    """The patterns of one folder's ignore files, by their names."""

    folder: str
    """Its path from the top of the repository, with a slash at its end; empty for the top."""
    specs: dict[str, GitIgnoreSpec]


def working_folder(named: str | None) -> Path:
    """The folder to send: the one that is named, else the current one. Raises CommandError for the home folder."""
    if named is not None:
        return Path(named)
    here, home = Path.cwd(), Path.home().resolve()
    if here == home or here in home.parents:
        raise CommandError(
            f"{here} has your home folder in it, and the whole working folder is sent",
            "go to the folder of your project, or name one with --dir",
            REFUSED,
        )
    return here


def read_folder(root: Path, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES) -> Folder:
    """The folder as it is to be sent. Raises CommandError when it is too large or can't be read."""
    if not root.is_dir():
        raise CommandError(f"there is no folder {root}", "name one with --dir", NOT_FOUND)
    files: list[str] = []
    sizes: Counter[str] = Counter()
    above, top = _rules_above(root)
    stack: list[tuple[str, tuple[_Ignore, ...]]] = [("", above)]
    while stack:
        folder, rules = stack.pop()
        try:
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
            rules = (*rules, _rules(root / folder, f"{top}{folder}"))
        except OSError as error:
            raise CommandError(
                f"{root / folder} can't be read: {error.strerror}", "leave it out by a line in .devctlignore", REFUSED
            ) from None
        for entry in entries:
            path = f"{folder}{entry.name}"
            if entry.name in _NEVER or _is_ignored(
                rules, f"{top}{path}", is_folder=entry.is_dir(follow_symlinks=False)
            ):
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


def _rules_above(root: Path) -> tuple[tuple[_Ignore, ...], str]:
    """The patterns of the folders above, up to the top of the repository, and the path of `root` from there.

    None where the folder is in no repository, or is ignored itself: whoever names it wants its files.
    """
    here = root.resolve()
    top = next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), here)
    parts = here.relative_to(top).parts
    folders = ["".join(f"{part}/" for part in parts[:depth]) for depth in range(len(parts) + 1)]
    rules = tuple(_rules(top / folder, folder) for folder in folders[:-1])
    if any(_is_ignored(rules, folder.rstrip("/"), is_folder=True) for folder in folders[1:]):
        return (), ""
    return rules, folders[-1]


def _rules(folder: Path, path: str) -> _Ignore:
    """The patterns of a folder's own ignore files. Raises OSError and, for one that is too slow, CommandError."""
    from pathspec import GitIgnoreSpec

    present = [folder / name for name in IGNORE_FILES if (folder / name).is_file()]
    return _Ignore(path, {file.name: GitIgnoreSpec(_patterns(file)) for file in present})


def _patterns(file: Path) -> Iterator[GitIgnoreSpecPattern]:
    """The patterns of an ignore file, without those that match nothing in git either."""
    from pathspec import GitIgnoreSpec

    for number, line in enumerate(file.read_text(errors="surrogateescape").splitlines(), 1):
        if not line.startswith("#") and len(re.findall(r"\*+", line)) > MAX_STARS:
            raise CommandError(
                f"line {number} of {file} has more than {MAX_STARS} wildcards",
                "write it as several lines, or name another folder with --dir",
                REFUSED,
            )
        try:
            yield from GitIgnoreSpec.from_lines([line]).patterns
        except (ValueError, re.error):
            continue


def _is_ignored(rules: tuple[_Ignore, ...], path: str, *, is_folder: bool) -> bool:
    for name in reversed(IGNORE_FILES):
        for rule in reversed(rules):
            spec = rule.specs.get(name)
            included = spec.check_file(path[len(rule.folder) :] + ("/" if is_folder else "")).include if spec else None
            if included is not None:
                return included
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
