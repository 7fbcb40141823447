"""infra's errors: the lines they are printed as."""

from __future__ import annotations

import pytest
import typer

from devcluster.entrypoint import run
from infra.deploy.__main__ import KNOWN
from infra.deploy.aws.tools import Tools
from infra.errors import InfraError
from infra.settings.problems import Problem, SettingsError


def test_str_of_an_error_is_the_problem_and_the_indented_remedy() -> None:
    error = InfraError("the disk is full", "delete something")
    assert (error.what, error.remedy, error.code) == ("the disk is full", "delete something", 1)
    assert str(error) == "the disk is full\n  delete something"


def test_settings_error_with_several_problems_has_two_lines_for_each() -> None:
    problems = [Problem("a", "1", "too small", "take 2"), Problem("b", "x", "not a number", "take 3")]
    assert str(SettingsError(problems)) == "a = 1: too small\n  take 2\nb = x: not a number\n  take 3"


def test_need_of_several_missing_programs_has_two_lines_for_each() -> None:
    tools = Tools({}, ("aws v7",), "file:///state")
    with pytest.raises(InfraError) as caught:
        tools.require("pulumi", "aws")
    assert str(caught.value) == "\n".join(tools.problems(("pulumi", "aws")))


def test_run_with_an_infra_error_prints_its_text_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise InfraError("the disk is full", "delete something")

    monkeypatch.setattr("sys.argv", ["infra"])
    assert run(app, KNOWN) == 1
    assert capsys.readouterr().err == "\nthe disk is full\n  delete something\n"


def test_run_of_a_command_that_is_interrupted_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()

    @app.command()
    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["infra"])
    assert run(app, KNOWN) == 130
    assert capsys.readouterr().err == "\nstopped; the same command goes on where this one was\n"
