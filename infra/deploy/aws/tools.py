"""Finds the programs, plugins and backend that a stack on AWS needs on this machine.

Invariant: everything that is missing is reported at once, two lines each, before anything is started.

``python -m infra.deploy.aws.tools`` prints the plugins that are missing, for a workflow that installs them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from devcluster import toolchain
from devservers_core.paths import Paths
from infra.errors import InfraError

PLUGINS = {
    "aws": "pulumi-aws",
    "eks": "pulumi-eks",
    "kubernetes": "pulumi-kubernetes",
    "docker-build": "pulumi-docker-build",
}
"""Providers by the Python package whose version theirs must be."""
PROGRAMS = {
    "pulumi": "install Pulumi (https://www.pulumi.com/docs/install), or run `make up`, which builds it",
    "aws": "install the AWS CLI, version 2: pulumi-eks and the cluster's kubeconfig call it",
    "kubectl": "install kubectl, or run `make up`, which builds it",
}


class PrerequisiteError(InfraError):
    """A machine lacks programs, plugins or credentials; two lines for each."""


@dataclass(frozen=True)
class Tools:
    """What was found. ``programs`` by name, ``plugins`` the providers that are missing as NAME vVERSION."""

    programs: Mapping[str, Path | None]
    missing_plugins: tuple[str, ...]
    backend: str
    """Where Pulumi keeps its state; "" when it was never told."""

    def problems(self, wanted: Sequence[str] = tuple(PROGRAMS), *, plugins: bool = True) -> list[str]:
        """What is missing of these programs, the backend, and the plugins; two lines each."""
        found = [
            f"{name} is not on this machine\n  {PROGRAMS[name]}" for name in wanted if self.programs.get(name) is None
        ]
        if plugins:
            found += [
                f"Pulumi's plugin {each} is not installed\n  pulumi plugin install resource {each}"
                for each in self.missing_plugins
            ]
        if not self.backend:
            found.append(
                "Pulumi has no backend for its state\n"
                "  pulumi login s3://BUCKET, or set PULUMI_BACKEND_URL (docs/guides/aws.md, step 1)"
            )
        return found

    def require(self, *wanted: str, plugins: bool = True) -> None:
        """Raises :class:`PrerequisiteError` when something is missing."""
        found = self.problems(wanted, plugins=plugins)
        if found:
            what, _, remedies = "\n".join(found).partition("\n  ")
            raise PrerequisiteError(what, remedies)

    def path(self, name: str) -> str:
        """A program's path. Raises :class:`PrerequisiteError`."""
        found = self.programs.get(name)
        if found is None:
            raise PrerequisiteError(f"{name} is not on this machine", PROGRAMS[name])
        return str(found)


def find_tools(env: Mapping[str, str], find: Callable[[str], Path | None] | None = None) -> Tools:
    """What there is for an environment. ``find`` finds a program, by default the toolchain's way."""
    paths = Paths.of(env)
    look_up = find or (lambda name: toolchain.find(name, paths) or _which(name, env))
    home = pulumi_home(env)
    return Tools({name: look_up(name) for name in PROGRAMS}, tuple(_missing(home)), backend(env, home))


def pulumi_home(env: Mapping[str, str]) -> Path:
    """Where a person's Pulumi keeps plugins and credentials."""
    return Path(env.get("PULUMI_HOME") or Path(env.get("HOME") or Path.home()) / ".pulumi")


def backend(env: Mapping[str, str], home: Path) -> str:
    """The backend's URL: PULUMI_BACKEND_URL, else what `pulumi login` wrote; "" for none."""
    if env.get("PULUMI_BACKEND_URL"):
        return env["PULUMI_BACKEND_URL"]
    try:
        content = json.loads((home / "credentials.json").read_text())
    except (OSError, ValueError):
        return ""
    return str(content.get("current") or "") if isinstance(content, dict) else ""


def _missing(home: Path) -> list[str]:
    """The plugins that are not in Pulumi's folder, as `pulumi plugin install resource` takes them."""
    wanted = {name: version(package) for name, package in PLUGINS.items()}
    return [
        f"{name} v{each}"
        for name, each in wanted.items()
        if not (home / "plugins" / f"resource-{name}-v{each}" / f"pulumi-resource-{name}").exists()
    ]


def _which(name: str, env: Mapping[str, str]) -> Path | None:
    found = shutil.which(name, path=env.get("PATH") or os.defpath)
    return Path(found) if found else None


if __name__ == "__main__":
    for plugin in find_tools(os.environ).missing_plugins:
        print(plugin)
