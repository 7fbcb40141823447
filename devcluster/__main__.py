"""``python -m devcluster``: installs packages, builds tools and images.

Every failure a person can cause or cure is one line of what is wrong and one of what to do.
"""

from __future__ import annotations

import sys

import typer

from devcluster import gotool, modules, packages, toolchain
from devcluster.cluster import ClusterError
from devcluster.entrypoint import run
from devcluster.images import Builder, ImageError
from devcluster.progress import Progress
from devservers_core.paths import current

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
KNOWN = (ClusterError, ImageError, gotool.ToolchainError, packages.PackageError)


@app.command("packages")
def install_packages() -> None:
    """Install the Debian packages that the platform and the tests need, and nothing that is there."""
    _install(Progress())


@app.command()
def tools() -> None:
    """Install and build what the tests need, and nothing that is there."""
    progress = Progress()
    _install(progress)
    toolchain.ensure(modules.ALL, current(), progress)


@app.command()
def images() -> None:
    """Build the images of programs that are not in this repository, and nothing that is there."""
    progress, paths = Progress(), current()
    _install(progress)
    toolchain.ensure(modules.QUEUEING, paths, progress)
    builder = Builder(paths, progress)
    for built in (builder.pause(), builder.kueue()):
        print(built.archive)


@app.command()
def program(name: str) -> None:
    """Print the path of a tool: on PATH or built. Fails when it is neither."""
    print(toolchain.need(name))


def _install(progress: Progress) -> None:
    problem = packages.unfit()
    if problem:
        raise packages.PackageError(
            f"the tests need the embedded cluster: {problem}\n  run them on a Debian machine, as root"
        )
    packages.ensure(progress, tests=True)


if __name__ == "__main__":
    sys.exit(run(app, KNOWN))
