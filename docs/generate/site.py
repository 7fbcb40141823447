"""Hooks of the documentation site: pages of the repository's root are part of it.

Links in Markdown lead through the repository, as GitHub shows it; on the site they lead to the page's place there.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ROOT_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
_LINK = re.compile(r"(\[(?:[^\]\[]|\[[^\]]*\])*\])\(([^)\s:#]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:  # noqa: ANN401 - mkdocs isn't installed where types are checked
    """Add the pages of the repository's root."""
    from mkdocs.structure.files import File

    for name in ROOT_PAGES:
        files.append(File.generated(config, name, content=(ROOT / name).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:  # noqa: ANN401
    """Turn links through the repository into links through the site; a link to another file is its text."""
    return rewritten(markdown, page.file.src_uri)


def rewritten(markdown: str, page: str) -> str:
    """The text of a page of the site (`guides/devctl.md`) with its links as the site has them."""
    in_repository = page if page in ROOT_PAGES else f"docs/{page}"

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(in_repository), match[2]))
        if target.startswith("docs/") or target in ROOT_PAGES:
            place = posixpath.relpath(target.removeprefix("docs/"), posixpath.dirname(page) or ".")
            return f"{match[1]}({place}{match[3] or ''})"
        return match[1][1:-1]

    return _LINK.sub(link, markdown)
