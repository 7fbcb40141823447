"""``python -m infra.local``: what `make up`, `make down`, `make preview` and the tests' set-up run.

Every failure a person can cause or cure is one line of what is wrong and one of what to do.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from infra.local import capacity, packages, toolchain
from infra.local.cluster import ClusterError
from infra.local.context import ContextError
from infra.local.engine import EngineError
from infra.local.images import ImageError
from infra.local.kubectl import KubectlError
from infra.local.paths import current
from infra.local.person import PersonError
from infra.local.platform import Platform
from infra.local.progress import Progress

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
Stack = Annotated[str, typer.Option(help="The Pulumi stack.")]
DEBUG = "--debug"
KNOWN = (
    ClusterError,
    ContextError,
    EngineError,
    ImageError,
    KubectlError,
    PersonError,
    packages.PackageError,
    toolchain.ToolchainError,
)


@app.command()
def up(
    stack: Stack = "local",
    demo: bool = True,
    fake_gpus: Annotated[
        int | None, typer.Option(min=0, max=capacity.FAKE_GPUS, help="GPUs to pretend; kept until it is said again.")
    ] = None,
) -> None:
    """A cluster, the platform on it, and a first server."""
    _platform(stack).up(demo, fake_gpus)


@app.command()
def down(stack: Stack = "local", purge: bool = False) -> None:
    """Stop the embedded cluster; with --purge delete its state too."""
    platform = _platform(stack)
    if purge:
        homes = platform.homes()
        named = f": {', '.join(homes)}" if homes else ""
        if not typer.confirm(f"Delete the embedded cluster and all homes in it{named}?", err=True):
            print("nothing was deleted", file=sys.stderr)
            raise typer.Exit(1)
    platform.down(purge)


@app.command()
def preview(stack: Stack = "local") -> None:
    """What `up` would change in the platform."""
    _platform(stack).preview()


@app.command()
def destroy(stack: Stack = "local") -> None:
    """Take the platform off the cluster; homes stay, and are named."""
    _platform(stack).destroy()


@app.command()
def tools() -> None:
    """Install and build what the tests need, and nothing that is there."""
    progress = Progress()
    problem = packages.unfit()
    if problem:
        raise packages.PackageError(
            f"the tests need the embedded cluster: {problem}\n  run them on a Debian machine, as root"
        )
    packages.ensure(progress)
    toolchain.ensure(toolchain.ALL, current(), progress)


def _platform(stack: str) -> Platform:
    if stack != "local":
        raise ContextError(
            f"stack {stack} is not built yet: only local is\n  run the command with STACK=local, or without STACK"
        )
    return Platform(current(), os.environ, Progress())


def main() -> int:
    """Run a command; returns the exit code."""
    try:
        code = app([word for word in sys.argv[1:] if word != DEBUG], standalone_mode=False)
    except KNOWN as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, typer.Abort):
        print("\nstopped; the same command goes on where this one was", file=sys.stderr)
        return 130
    except Exception as error:
        if DEBUG in sys.argv:
            raise
        print(f"\nfailed unexpectedly: {type(error).__name__}: {error}", file=sys.stderr)
        print("  run it again with DEBUG=1 and report what it prints", file=sys.stderr)
        return 1
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
