"""``python -m infra.deploy``: deploys a stack and shows what it is and costs (`make up`, `make preview`).

The stack `local` goes to a cluster on this machine, every other one to AWS. Every failure a person can cause or cure
is one line of what is wrong and one of what to do.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, Literal

import typer

from devcluster import gotool, packages
from devcluster.cluster import ClusterError
from devcluster.entrypoint import run
from devcluster.images import ImageError
from devcluster.progress import Progress
from devservers_core.paths import current
from infra.deploy.aws.environment import Environment
from infra.deploy.aws.tools import find_tools
from infra.deploy.cost_base import compare
from infra.deploy.leftover import describe
from infra.deploy.local.platform import Platform
from infra.deploy.preview_mode import PreviewMode, choose
from infra.errors import InfraError
from infra.local import capacity
from infra.preview.stackfile import read

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
LOCAL = "local"
Stack = Annotated[str, typer.Option(help="The Pulumi stack.")]
Yes = Annotated[bool, typer.Option("--yes", help="Don't ask.")]
KNOWN = (InfraError, ClusterError, ImageError, packages.PackageError, gotool.ToolchainError)
"""Errors of infra and of the embedded cluster, which are printed as their text."""


@app.command()
def up(
    stack: Stack = LOCAL,
    demo: bool = True,
    yes: Yes = False,
    fake_gpus: Annotated[
        int | None,
        typer.Option(min=0, max=capacity.MAX_FAKE_GPUS, help="GPUs to pretend; kept until it is set again."),
    ] = None,
    pytorch: Annotated[
        bool | None,
        typer.Option(help="Build the PyTorch image, for CPUs; GPU flavors name it. Kept until it is set again."),
    ] = None,
) -> None:
    """A cluster, the platform on it, and a first server; of a stack on AWS, all of it."""
    if stack == LOCAL:
        _platform().up(demo, fake_gpus, pytorch)
    else:
        _environment(stack).up(yes, _confirm if sys.stdin.isatty() else None)


@app.command()
def down(stack: Stack = LOCAL, purge: bool = False, yes: Yes = False, drain: bool = True) -> None:
    """Stop the embedded cluster; with --purge delete its state too. A stack on AWS is destroyed, homes stay.

    With --no-drain servers are not ended first and the disks of homes are not set to be kept.
    """
    if stack != LOCAL:
        left = _environment(stack).down(lambda question: yes or _confirm(question), drain)
        print(describe(left))
        return
    platform = _platform()
    if purge:
        homes = platform.homes()
        named = f": {', '.join(homes)}" if homes else ""
        if not yes and not _confirm(f"Delete the embedded cluster and all homes in it{named}?"):
            print("nothing was deleted", file=sys.stderr)
            raise typer.Exit(1)
    platform.down(purge)


@app.command()
def preview(
    stack: Stack = LOCAL,
    simulated: Annotated[bool, typer.Option(help="Ask nobody: run the program on mocks.")] = False,
    output: Annotated[
        Literal["text", "summary", "json"],
        typer.Option("-o", "--output", help="Of a simulation; summary leaves the list of resources out."),
    ] = "text",
) -> None:
    """What `up` would change; where the real engine can't run, everything a stack would hold."""
    file = read(stack)
    chosen = choose(stack == LOCAL, find_tools(os.environ), simulated)
    if chosen.mode is PreviewMode.PLATFORM:
        _platform().preview()
    elif chosen.mode is PreviewMode.ENGINE:
        _environment(stack).preview()
        from infra.preview.simulation import simulate

        if now := simulate(file).cost:
            print(compare(now, os.environ).text())
    else:
        # They load the SDKs, which takes a second that nothing else should wait for.
        from infra.preview.report import Report
        from infra.preview.simulation import simulate

        why = ["simulated, because:", *chosen.reasons] if chosen.reasons else ["simulated, as asked"]
        print("\n".join(why), file=sys.stderr)
        report = Report(simulate(file))
        print(json.dumps(report.record(), indent=2) if output == "json" else report.text(whole=output != "summary"))
        if report.refused:
            raise InfraError("the policy pack refuses this stack", "fix the findings marked mandatory above")


@app.command()
def cost(
    stack: Stack = LOCAL,
    base: Annotated[
        str, typer.Option(help="A revision or a file to compare with; by default the last deployed state.")
    ] = "",
    target: Annotated[
        str, typer.Option(help="The revision to compare with where no state can be read; by default the main branch.")
    ] = "",
    output: Annotated[Literal["text", "markdown", "json"], typer.Option("-o", "--output")] = "text",
) -> None:
    """What a stack on AWS costs a month, and what is more or less than before. The program is run on mocks."""
    from infra.preview.simulation import simulate

    now = simulate(read(stack)).cost
    if now is None:
        print(f"stack {stack} costs nothing: its cluster is one on this machine")
    elif output == "json":
        print(json.dumps(now.record(), indent=2))
    else:
        comparison = compare(now, os.environ, base, target)
        print(comparison.markdown() if output == "markdown" else comparison.text())


@app.command()
def inventory() -> None:
    """Write stacks/inventory/*.txt anew: what each stack makes, for review."""
    from infra.preview.inventory import write

    for path in write():
        print(f"changed: {path.parent.parent.name}/{path.parent.name}/{path.name}", file=sys.stderr)


@app.command()
def prices() -> None:
    """Write infra/catalog/prices.json anew: what AWS charges for the instance types of the catalog."""
    from infra.catalog.prices import FILE
    from infra.deploy.prices import update

    changed = "changed" if update(current(), Progress()) else "unchanged"
    print(f"{changed}: infra/catalog/{FILE.name}", file=sys.stderr)


@app.command()
def destroy() -> None:
    """End all servers and take the platform off the local cluster; homes stay, and are named.

    Refused, with every server left as it is, while a pod or Job that belongs to no server is in a queue.
    """
    _platform().destroy()


def _confirm(question: str) -> bool:
    return typer.confirm(question, err=True)


def _platform() -> Platform:
    return Platform(current(), os.environ, Progress())


def _environment(stack: str) -> Environment:
    return Environment(read(stack), os.environ, Progress())


if __name__ == "__main__":
    sys.exit(run(app, KNOWN))
