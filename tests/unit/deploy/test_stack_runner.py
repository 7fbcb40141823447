"""The stack runner and its CLI with a script for Pulumi: what is passed on, and what a failure says."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.deploy.pulumi_cli import PulumiCli
from infra.deploy.stack_runner import Backend, EngineLostError, PulumiError, StackRunner

FAILS = """#!/bin/sh
echo 'warning: this is slow' >&2
echo 'error: access denied' >&2
exit 255
"""
WAITS = """#!/bin/sh
printf .
while [ ! -e seen ]; do sleep 0.1; done
echo done
env > environment
"""


LOSES_ENGINE = """#!/bin/sh
echo "$1" >> calls
echo 'error: Resource monitor has terminated, shutting down' >&2
exit 255
"""


def program(folder: Path, script: str) -> Path:
    path = folder / "pulumi"
    path.write_text(script)
    path.chmod(0o755)
    return path


def failing(folder: Path) -> StackRunner:
    env = {"PATH": "/usr/bin:/bin"}
    return StackRunner("dev", Backend(program(folder, FAILS), env, {}, remedy="fix it", work_dir=folder))


def test_up_that_fails_points_at_the_output_and_repeats_the_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PulumiError) as caught:
        failing(tmp_path).up()
    assert str(caught.value) == "pulumi up failed, see above: error: access denied\n  fix it"
    assert capsys.readouterr().err == "warning: this is slow\nerror: access denied\n"


def test_up_whose_program_loses_the_engine_is_an_error_of_its_own_and_not_repeated(tmp_path: Path) -> None:
    """What repeats it is the local stack: on AWS nobody asked for a second update."""
    backend = Backend(
        program(tmp_path, LOSES_ENGINE), {"PATH": "/usr/bin:/bin"}, {}, remedy="fix it", work_dir=tmp_path
    )
    with pytest.raises(EngineLostError, match="Resource monitor has terminated"):
        StackRunner("dev", backend).up()
    assert (tmp_path / "calls").read_text().split().count("up") == 1


def test_query_that_fails_holds_everything_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PulumiError) as caught:
        failing(tmp_path).outputs()
    assert caught.value.what == "pulumi stack output failed: warning: this is slow error: access denied"
    assert capsys.readouterr().err == ""


def test_run_passes_text_on_before_its_line_ends(tmp_path: Path) -> None:
    """Pulumi's progress is dots on one line; the script goes on when the first was passed on."""
    pieces: list[str] = []

    def passed_on(text: str) -> None:
        pieces.append(text)
        (tmp_path / "seen").touch()

    cli = PulumiCli(program(tmp_path, WAITS), {"PATH": "/usr/bin:/bin", "ONLY": "this"})
    result = cli.run(["up"], str(tmp_path), {"ADDED": "too"}, on_output=passed_on)
    assert pieces[0] == "."
    assert result.stdout == "".join(pieces) == ".done\n"


def test_run_has_no_variable_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_ACCESS_TOKEN", "somebody's")
    (tmp_path / "seen").touch()
    cli = PulumiCli(program(tmp_path, WAITS), {"PATH": "/usr/bin:/bin", "ONLY": "this"})
    cli.run(["up"], str(tmp_path), {"ADDED": "too"})
    lines = (tmp_path / "environment").read_text().splitlines()
    assert {"ONLY=this", "ADDED=too", "PULUMI_AUTOMATION_API=true"} <= set(lines)
    assert not [line for line in lines if line.startswith("PULUMI_ACCESS_TOKEN")]


def test_run_whose_reader_is_gone_goes_on(tmp_path: Path) -> None:
    """A closed terminal or pipe must not end an update."""

    def broken(text: str) -> None:
        (tmp_path / "seen").touch()
        raise BrokenPipeError(text)

    cli = PulumiCli(program(tmp_path, WAITS), {"PATH": "/usr/bin:/bin"})
    assert cli.run(["up"], str(tmp_path), {}, on_output=broken).stdout == ".done\n"
