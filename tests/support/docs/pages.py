"""Markdown pages of the repository: their headings, links and command blocks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from infra import ROOT

FENCE = re.compile(r"^\s*(```+|~~~+)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$")
LINK = re.compile(r"(?<!!)\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)(?: \"[^\"]*\")?\)|!\[[^\]]*\]\(([^)\s]+)\)")
RUNNABLE = "<!-- run -->"
"""Stands above a command block that a test runs."""
RUN_PAGES = ("README.md", "docs/tutorials/local-platform.md", "docs/tutorials/first-server.md")
"""The pages with such blocks, in the order in which tests/node/test_docs.py runs them."""
NOT_RUN = {
    "make test": "runs every test, these included; .ci/run runs it after `make up`",
    "uv sync": "changes the environment that the tests run in; tests/infra/test_preview_alone.py has the preview",
    "make preview SIMULATED=1 STACK=prod": "tests/infra/test_preview_alone.py runs it",
    "make up FAKE_GPUS=1": "changes the node that other tests share; tests/node/test_queued_servers.py has such GPUs",
    "make down": "takes away the platform that other tests share; tests/node/test_platform.py has it",
    "make down PURGE=1": "deletes the platform that other tests share; tests/node/test_platform.py has it",
}
"""A command of each block of the README and the tutorials that no test runs, and why."""


@dataclass(frozen=True)
class Link:
    """A link that leads to another place of the repository."""

    page: Path
    line: int
    target: str

    @property
    def path(self) -> Path:
        """The file or folder it leads to; the page itself for a bare anchor."""
        name = self.target.partition("#")[0]
        return (self.page.parent / name).resolve() if name else self.page

    @property
    def anchor(self) -> str:
        """The heading it leads to, "" for the whole page."""
        return self.target.partition("#")[2]


def pages() -> list[Path]:
    """Every Markdown page of the repository, hidden folders but .github left out."""
    found = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
    return [*found, *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / ".github").rglob("*.md"))]


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of a page outside of fenced blocks, code spans taken out."""
    fence = ""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        mark = FENCE.match(line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif not fence:
            yield number, line


def links(page: Path) -> list[Link]:
    """The links of a page that lead to another place of the repository."""
    found = []
    for number, line in prose(page):
        for match in LINK.finditer(re.sub(r"`[^`]*`", "``", line)):
            target = match[1] or match[2]
            if not re.match(r"[a-z]+:", target):
                found.append(Link(page, number, target))
    return found


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors that GitHub and the documentation site give a page's headings."""
    seen: dict[str, int] = {}
    found = set()
    for _, line in prose(page):
        heading = HEADING.match(line)
        if not heading:
            continue
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).replace("`", "").replace("*", "")
        name = slug(text)
        count = seen[name] = seen.get(name, -1) + 1
        found.add(f"{name}-{count}" if count else name)
    return frozenset(found)


def slug(text: str) -> str:
    """A heading as an anchor: small letters, dashes for spaces, no punctuation."""
    kept = "".join(each for each in unicodedata.normalize("NFC", text.lower()) if each.isalnum() or each in " -_")
    return kept.replace(" ", "-")


@dataclass(frozen=True)
class Block:
    """A block of commands (``console``): what stands behind `$ `, and whether the page marks it to be run."""

    commands: tuple[str, ...]
    run: bool


def blocks(page: Path) -> list[Block]:
    """The command blocks of a page; a line `<!-- run -->` above one marks it."""
    lines = page.read_text().splitlines()
    found = []
    for number, line in enumerate(lines):
        if line == "```console":
            end = lines.index("```", number)
            text = "\n".join(lines[number + 1 : end]).replace("\\\n", " ")
            commands = tuple(each.removeprefix("$ ") for each in text.splitlines() if each.startswith("$ "))
            found.append(Block(commands, lines[number - 1] == RUNNABLE))
    return found


def command_lines(page: Path) -> list[str]:
    """What a page shows as commands: lines of fenced and indented blocks, and code spans."""
    found, fence = [], ""
    for line in page.read_text().splitlines():
        mark = FENCE.match(line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif fence or line.startswith("    "):
            found.append(line.strip().removeprefix("$ "))
        else:
            found += re.findall(r"`([^`]+)`", line)
    return found
