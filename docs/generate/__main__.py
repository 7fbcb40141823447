"""``python -m docs.generate [--check]``: writes docs/reference, or names the pages that are stale."""

from __future__ import annotations

import sys
from collections.abc import Callable

from docs.generate import FOLDER, audit_log, cli, crds, settings

PAGES: dict[str, Callable[[], str]] = {
    "audit-log.md": audit_log.page,
    "cli.md": cli.page,
    "crds.md": crds.page,
    "settings.md": settings.page,
}


def stale() -> list[str]:
    """The names of the pages whose committed text is not what the code says today."""
    return [name for name, page in PAGES.items() if not _is_current(name, page())]


def _is_current(name: str, text: str) -> bool:
    file = FOLDER / name
    return file.exists() and file.read_text() == text


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check print the stale ones and give 1."""
    if arguments == ["--check"]:
        for name in (pages := stale()):
            print(f"docs/reference/{name} is stale\n  run `make reference`", file=sys.stderr)
        return 1 if pages else 0
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())
        print(FOLDER / name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
