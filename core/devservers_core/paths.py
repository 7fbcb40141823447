"""Paths of the local stack: state in one folder, tools in another.

State (clusters, Pulumi's backend, keys) lives in ``$XDG_STATE_HOME/devservers``, what can be built again in
``$XDG_CACHE_HOME/devservers`` (XDG Base Directory Specification 0.8). Nothing is written anywhere else but
devctl's configuration file, and that only when there is none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """Where things of one local platform are.

    ``state`` holds what must survive, ``cache`` what can be built again, ``config`` devctl's configuration.
    """

    state: Path
    cache: Path
    config: Path

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Paths:
        """The paths for an environment, with the defaults of the XDG specification."""
        home = Path(env.get("HOME") or Path.home())
        return cls(
            state=Path(env.get("XDG_STATE_HOME") or home / ".local" / "state") / "devservers",
            cache=Path(env.get("XDG_CACHE_HOME") or home / ".cache") / "devservers",
            config=Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "devctl" / "config.yaml",
        )

    @property
    def node(self) -> Path:
        """The embedded cluster's folder."""
        return self.state / "node"

    @property
    def kubeconfig(self) -> Path:
        """The embedded cluster's administrator kubeconfig."""
        return self.node / "kubeconfig"

    @property
    def tools(self) -> Path:
        """Built tools, one folder for each pinned module."""
        return self.cache / "tools"

    @property
    def images(self) -> Path:
        """Built images as OCI archives, named by the hash of what they were built from."""
        return self.cache / "images"


def current() -> Paths:
    """The paths of this process's environment."""
    return Paths.of(os.environ)
