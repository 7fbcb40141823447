"""Tests the command line, terminal and input of a command that runs on the bastion."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from devctl.command_line import parse
from devctl.command_table import COMMANDS, COMMON_OPTIONS, GROUPS, SUBCOMMANDS
from devctl.config import Config
from devctl.ssh.bastion import remote_command, settings_as_flags
from devctl.typer_commands import load


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """flavor, homeSize and image are set."""
    settings = {"DEVCTL_FLAVOR": "tiny", "DEVCTL_HOME_SIZE": "7Gi", "DEVCTL_IMAGE": "a/b:1"}
    return Config({}, {"HOME": str(tmp_path), **settings})


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ("create x", ""),
        ("create x small", "--flavor"),
        ("create --name x small", "--flavor"),
        ("create --name x", ""),
        ("create x --flavor=small", "--flavor"),
        ("create -e A=1 --ttl 1h x", ""),
        ("create x --wait 5m", ""),
        ("create x --wait small", "--flavor"),
        ("create x --ephemeral", "--home-size"),
        ("create x -v data:/home/dev", "--home-size"),
        ("create x -vdata:/home/dev", "--home-size"),
        ("create x -v data:/home/dev/x", ""),
        ("create x --image c", "--image"),
        ("create x -- small", ""),
    ],
)
def test_remote_arguments_setting_is_sent_unless_typed(config: Config, words: str, missing: str) -> None:
    found = remote_command.remote_arguments(parse(words.split()), config)
    sent = [word for word in found[1:7] if word in ("--flavor", "--image", "--home-size")]
    assert [flag for flag in ("--flavor", "--image", "--home-size") if flag != missing] == [
        flag for flag in sent if flag != missing
    ]
    assert found[-len(words.split()) + 1 :] == words.split()[1:]
    if missing:
        assert found.count(missing) == words.split().count(missing)


def test_create_value_options_match_the_command() -> None:
    params = [each for each in load("create", {}).params if each.param_type_name == "option"]
    valued = {name for each in params if not each.is_flag for name in each.opts} - {"--wait"}
    assert valued == settings_as_flags.CREATE_VALUE_OPTIONS
    assert set(COMMON_OPTIONS) <= {name.lstrip("-") for name in valued}


@pytest.mark.parametrize(
    ("words", "namespace", "output"),
    [
        ("create x -evenv=1", True, False),
        ("create x -vnew:/data", True, False),
        ("registry login ghcr.io -unoon", True, False),
        ("list", True, True),
        ("list -nprod", False, True),
        ("list -n prod", False, True),
        ("list -oname", True, False),
        ("list -Aoname", True, False),
        ("list -An prod", False, True),
        ("list --namespace=prod", False, True),
    ],
)
def test_remote_arguments_letter_within_a_value_is_no_flag(
    tmp_path: Path, words: str, namespace: bool, output: bool
) -> None:
    settings = {"DEVCTL_NAMESPACE": "dev-team", "DEVCTL_OUTPUT": "json"}
    found = remote_command.remote_arguments(parse(words.split()), Config({}, {"HOME": str(tmp_path), **settings}))
    assert ("dev-team" in found, "json" in found) == (namespace, output)


def test_short_value_options_match_the_commands() -> None:
    """On a letter that is a switch of one command and takes a value in another, `_is_given` would be wrong."""
    letters: dict[bool, set[str]] = {True: set(), False: set()}
    for name in [*SUBCOMMANDS, *(each for each in COMMANDS if each not in GROUPS)]:
        if COMMANDS[name.split()[0]].runs != "local":
            for each in load(name, {}).params:
                letters[bool(getattr(each, "is_flag", False))] |= {opt[1] for opt in each.opts if len(opt) == 2}
    assert letters[False] == set(settings_as_flags.SHORT_VALUE_OPTIONS)
    assert not letters[True] & letters[False]


def test_with_output_matches_the_commands() -> None:
    with_output = set()
    for name in [*SUBCOMMANDS, *(each for each in COMMANDS if each not in GROUPS)]:
        if COMMANDS[name.split()[0]].runs == "local" or name == "create":
            continue
        if any("--output" in each.opts for each in load(name, {}).params):
            with_output.add(name)
    assert with_output == settings_as_flags.WITH_OUTPUT


class Stream:
    """One that is a terminal, or none."""

    def __init__(self, terminal: bool) -> None:
        self.isatty = lambda: terminal


@pytest.mark.parametrize(
    ("words", "terminals", "switches"),
    [
        ("list", "ioe", "-t"),
        ("list", "io", "-T"),
        ("list", "", "-T -n"),
        ("exec x", "", "-T -n"),
        ("exec -i x", "", "-T"),
        ("registry list", "", "-T -n"),
        ("registry logout ghcr.io", "", "-T -n"),
        ("registry login ghcr.io -u ann", "", "-T"),
        ("registry --user ann login ghcr.io -u ann", "oe", "-T"),
        ("registry login ghcr.io -u ann", "io", "-t"),
        ("registry login ghcr.io -u ann", "ie", "-t"),
        ("registry login ghcr.io -u ann", "i", "-t"),
    ],
)
def test_ssh_switches_match_terminal_and_input_of_the_command(
    monkeypatch: pytest.MonkeyPatch, words: str, terminals: str, switches: str
) -> None:
    for letter, name in ("i", "stdin"), ("o", "stdout"), ("e", "stderr"):
        monkeypatch.setattr(sys, name, Stream(letter in terminals))
    found = remote_command.ssh_switches(parse(words.split()))
    monkeypatch.undo()
    assert " ".join(found) == switches
