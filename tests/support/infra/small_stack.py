"""Runs the stack runner on a program that only waits.

`python -m tests.support.infra.small_stack COMMAND FOLDER`; the folder holds Pulumi.yaml, the program, the state and
PULUMI_HOME. The real engine runs, no provider does.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from devcluster import toolchain
from devcluster.entrypoint import run
from infra.deploy.local.locks import drop_dead_locks
from infra.deploy.stack_runner import Backend, StackRunner
from infra.errors import InfraError

PROJECT = f"""\
name: small
stackConfigDir: stacks
runtime:
  name: python
  options:
    toolchain: pip
    virtualenv: {sys.prefix}
"""
PROGRAM = """\
import os
import time

import pulumi

pulumi.export("answer", 42)
pulumi.export("hidden", pulumi.Output.secret("secret"))
pulumi.log.info("the program runs")
time.sleep(float(os.environ.get("WAIT_SECONDS", "0")))
"""
app = typer.Typer()


def make(folder: Path) -> None:
    """Write the project into an empty folder."""
    for name in ("stacks", "state", "home"):
        (folder / name).mkdir()
    (folder / "Pulumi.yaml").write_text(PROJECT)
    (folder / "__main__.py").write_text(PROGRAM)


def runner(folder: Path) -> StackRunner:
    """The runner of the stack `dev` of a project, which is made in its backend when it isn't there."""
    program = toolchain.need("pulumi")
    path = [program.parent, toolchain.need("pulumi-language-python").parent, os.environ["PATH"]]
    added = {
        "PATH": os.pathsep.join(map(str, path)),
        "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # The virtual environment has SDKs of clouds, whose plugins the engine would look for.
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
    stack = StackRunner("dev", Backend(program, os.environ, added, work_dir=folder))
    if not stack.exists():
        stack.create()
    return stack


@app.command()
def up(folder: Path) -> None:
    """Update the stack and print its outputs."""
    drop_dead_locks(folder / "state")
    print(runner(folder).up())


@app.command()
def preview(folder: Path) -> None:
    """Preview the stack."""
    runner(folder).preview()


if __name__ == "__main__":
    sys.exit(run(app, (InfraError,)))
