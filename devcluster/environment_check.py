"""``python -m devcluster.environment_check``: checks the running environment against uv.lock.

Exit code 0: they agree.

So that a person's own `uv sync` is enough: without a network, and without the uv that made the environment. Standard
library only, as it runs before anything is known to be installed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from devcluster import ROOT

DEFAULT_GROUP = "dev"
"""What `uv sync` installs; other groups have an environment of their own."""


def problems(project: Mapping[str, Any], lock: Mapping[str, Any], installed: Mapping[str, str]) -> list[str]:
    """What differs from the lock, sorted: a required package that is missing, or any of another version.

    ``project`` is pyproject.toml, ``lock`` uv.lock, ``installed`` versions by normalized name.
    """
    about = project["project"]
    required = [about["name"], *about["dependencies"], *members(project["dependency-groups"], DEFAULT_GROUP)]
    wanted = {normalized(re.split(r"[^\w.-]", each, maxsplit=1)[0]) for each in required}
    locked: dict[str, set[str]] = {}
    for package in lock["package"]:
        if "version" in package:  # the workspace's own packages have none
            locked.setdefault(package["name"], set()).add(package["version"])
    missing = [f"{name} is missing" for name in wanted if name not in installed]
    others = (name for name, version in installed.items() if version not in locked.get(name, {version}))
    return sorted([*missing, *(f"{name} is {installed[name]}" for name in others)])


def members(groups: Mapping[str, list[Any]], name: str) -> list[str]:
    """The requirements of a dependency group, with those of the groups that it includes."""
    return [
        each
        for entry in groups[name]
        for each in ([entry] if isinstance(entry, str) else members(groups, entry["include-group"]))
    ]


def normalized(name: str) -> str:
    """A package's name as in uv.lock."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main(root: Path = ROOT) -> int:
    """0 when nothing differs; else 1, and what differs on stderr."""
    project, lock = (tomllib.loads((root / name).read_text()) for name in ("pyproject.toml", "uv.lock"))
    installed = {normalized(each.metadata["Name"]): each.version for each in distributions()}
    messages = problems(project, lock, installed)
    print("\n".join(messages), file=sys.stderr, end="\n" if messages else "")
    return 1 if messages else 0


if __name__ == "__main__":
    sys.exit(main())
