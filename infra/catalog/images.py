"""Container images of the platform, tagged by the hash of their sources.

Invariant: an image's tag is the hash of the files it is built from, wherever it is built and kept.

So an unchanged checkout builds nothing, a second `pulumi up` sees no change, and a changed file is a new image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from infra import ROOT

BASE_SUITE = "trixie"


@dataclass(frozen=True)
class Image:
    """One image: its name, Dockerfile, build context, and the files it contains.

    ``files`` are paths and patterns within the context.
    """

    name: str
    dockerfile: str
    context: str
    files: tuple[str, ...]
    based: bool = True
    parent: Image | None = None
    """The image of this project that it is built from, its build argument BASE; else it is based on Debian."""

    @property
    def suite(self) -> str | None:
        """The Debian suite it is based on, or None."""
        return BASE_SUITE if self.based and self.parent is None else None

    def digest(self, root: Path = ROOT) -> str:
        """The hash of all files it is built from, 12 hexadecimal digits."""
        start = self.parent.digest(root) if self.parent else self.suite or ""
        state = hashlib.sha256(start.encode())
        for path in sorted(set(self._paths(root))):
            state.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
        return state.hexdigest()[:12]

    def _paths(self, root: Path) -> Iterable[Path]:
        yield root / self.dockerfile
        for name in self.files:
            found = list((root / self.context).glob(name))
            if not found:
                raise FileNotFoundError(root / self.context / name)
            for path in found:
                if path.is_dir():
                    yield from (p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
                else:
                    yield path


OPERATOR = Image(
    "operator",
    "operator/Dockerfile",
    ".",
    ("pyproject.toml", "uv.lock", "core/devservers_core", "operator/pyproject.toml", "operator/devservers"),
)
AGENT = Image(
    "agent",
    "images/agent/Dockerfile",
    "images/agent",
    ("go.mod", "*.go", "internal", "openssh/user.c", "openssh/devserver.h", "skel"),
)
BASE = Image("base", "images/base/Dockerfile", "images/base", ("terminfo", "externally-managed", "profile.sh"))
BASTION = Image(
    "bastion",
    "bastion/Dockerfile",
    ".",
    ("pyproject.toml", "uv.lock", "core/devservers_core", "cli/devctl", "bastion"),
)
PLATFORM = (AGENT, BASE, OPERATOR, BASTION)
"""In the order they are built: what changes least comes first."""
PYTORCH = Image("pytorch", "images/pytorch/Dockerfile", "images/pytorch", (), parent=BASE)
"""Of servers on GPU flavors; built on request, since it is many times the others' size."""
