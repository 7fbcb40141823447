"""The command blocks of the README and the tutorials, run as a user runs them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster import ROOT
from tests.support.docs.pages import RUN_PAGES, blocks
from tests.support.node.laptop import Laptop, add_key
from tests.support.node.person import BIN, Person, Platform

BASTION = "bastion.example.org"
"""The bastion in the pages; a wrapper of ssh leads it to the platform's."""
SERVER = "mydev"


@pytest.fixture(scope="module")
def terminal(platform: Platform, ann: Person, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of ann's terminal: devctl on the path, and an SSH configuration that knows the bastion."""
    laptop = Laptop(tmp_path_factory.mktemp("terminal"), platform, ann.name)
    add_key(platform, laptop)
    options = [word.replace("=", " ", 1) for word in laptop.options()[2:] if word != "-o"]
    lines = [f"Host {BASTION}", "HostName 127.0.0.1", f"Port {platform.ssh_port}", *options]
    (laptop.folder / "config").write_text("\n".join(lines) + "\n")
    programs = laptop.folder / "bin"
    programs.mkdir()
    # ssh takes the home of the account and not $HOME, so the configuration has to be named.
    wrapper = f"""#!/bin/sh
PATH="${{PATH#*:}}"
case " $* " in *@{BASTION}\\ *) exec ssh -F {laptop.folder / "config"} "$@" ;; esac
exec ssh "$@"
"""
    (programs / "ssh").write_text(wrapper)
    (programs / "ssh").chmod(0o755)
    return platform.env | {"PATH": f"{programs}:{BIN}:{platform.env['PATH']}"}


@pytest.fixture
def no_server(ann: Person) -> Iterator[None]:
    """Ann has no server of the pages' name, before and after."""
    ann.devctl("delete", SERVER, "--yes", "--purge", check=False)
    yield
    ann.devctl("delete", SERVER, "--yes", "--purge", check=False)


def _run(command: str, terminal: dict[str, str]) -> None:
    # The shell stops at the first command that fails, as a reader would.
    done = subprocess.run(
        ["bash", "-euc", command], cwd=ROOT, env=terminal, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, timeout=420,
    )  # fmt: skip
    assert done.returncode == 0, f"$ {command}\ngave {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.mark.usefixtures("no_server")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", RUN_PAGES)
def test_command_blocks_of_a_page_run_as_they_are_written(page: str, terminal: dict[str, str]) -> None:
    commands = [command for block in blocks(Path(ROOT) / page) if block.run for command in block.commands]
    assert commands
    _run("\n".join(commands), terminal)
