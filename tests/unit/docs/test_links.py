"""Links of the Markdown pages, which lead to files and headings that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra import ROOT
from tests.support.docs.pages import anchors, links, pages, slug


def test_slug_of_a_heading_is_the_one_of_github() -> None:
    assert slug("10. Taking it down") == "10-taking-it-down"
    assert slug("make preview, up and down of a stack on AWS") == "make-preview-up-and-down-of-a-stack-on-aws"
    assert slug("What it is made of: storage, the way in") == "what-it-is-made-of-storage-the-way-in"


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_to_what_exists(page: Path) -> None:
    broken = []
    for link in links(page):
        if not link.path.exists() or not link.path.is_relative_to(ROOT):
            broken.append(f"{link.line}: no file {link.target}")
        elif link.anchor and link.anchor not in anchors(link.path):
            broken.append(f"{link.line}: no heading {link.target}")
    assert not broken, "\n".join(broken)


def test_every_page_is_reached_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            todo += [link.path for link in links(page) if link.path.exists()]
    hidden = {page for page in pages() if ".github" in page.parts}
    assert set(pages()) - hidden <= reached


def test_pages_that_code_and_settings_name_exist() -> None:
    """An error text that says where to read on names a page of today."""
    folders = ("bastion", "cli", "core", "devcluster", "infra", "operator", "stacks", ".github")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    named = {
        (str(path.relative_to(ROOT)), page)
        for path in [*files, ROOT / "Pulumi.yaml", ROOT / "Makefile"]
        if path.suffix in {".py", ".yaml", ".yml", ".sh", ""}
        for page in re.findall(r"(?<![\w/])docs/[\w/-]+\.md", path.read_text(errors="replace"))
    }
    assert named, "error texts name pages"
    assert {each for each in named if not (ROOT / each[1]).exists()} == set()


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md"])
def test_files_and_folders_that_a_page_names_exist(page: str) -> None:
    tops = "bastion|cli|core|devcluster|docs|images|infra|operator|stacks|tests|\\.github"
    named = re.findall(rf"`((?:{tops})/[\w./-]+)`", (ROOT / page).read_text())
    assert named
    assert [each for each in named if not (ROOT / each).exists()] == []
