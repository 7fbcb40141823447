"""The documentation site: its navigation, and its links to pages of the repository's root."""

from __future__ import annotations

import re

from docs.generate.site import ROOT_PAGES, rewritten
from infra import ROOT
from tests.support.docs.pages import pages, prose


def test_navigation_has_every_page_once() -> None:
    listed = re.findall(r"- ([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = [str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")]
    assert sorted(listed) == sorted([*pages, *ROOT_PAGES])


def test_links_through_the_repository_become_links_through_the_site() -> None:
    assert rewritten("see [x](../../CHANGELOG.md#a).", "guides/upgrade.md") == "see [x](../CHANGELOG.md#a)."
    assert rewritten("see [x](docs/guides/aws.md).", "SECURITY.md") == "see [x](guides/aws.md)."
    assert rewritten("see [x](devctl.md#a) and [y](#b)", "guides/bastion.md") == "see [x](devctl.md#a) and [y](#b)"
    assert rewritten("under [Apache-2.0](LICENSE), [z](https://a.b/c.md)", "CONTRIBUTING.md") == (
        "under Apache-2.0, [z](https://a.b/c.md)"
    )


def test_blocks_in_list_items_are_indented_by_four_so_that_both_renderers_see_them() -> None:
    """GitHub takes two or three spaces for the content of a list item, the site four."""
    wrong = []
    for page in pages():
        lines = dict(prose(page))
        for number, line in lines.items():
            indent = len(line) - len(line.lstrip())
            if line.strip() and indent in (1, 2, 3, 5, 6, 7) and not lines.get(number - 1, "text").strip():
                wrong.append(f"{page.relative_to(ROOT)}:{number}")
    assert wrong == []
