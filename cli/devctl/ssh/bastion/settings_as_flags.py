"""Turns this machine's settings into flags of a command that runs on the bastion.

Invariant: a flag that was typed takes precedence, and a setting is sent only to commands that take its flag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from devctl.command_line import CommandLine
from devctl.config import Config
from devservers_core import names

WITH_OUTPUT = frozenset(
    {
        "list", "describe", "events", "flavors", "status", "keys list", "registry list", "volume list",
        "volume snapshot list", "secret list", "setup show", "runs",
    }
)  # fmt: skip
"""Commands on the bastion whose `-o` has the setting `output` as default."""
CREATE_VALUE_OPTIONS = frozenset(
    {
        "--name", "--flavor", "--image", "--home-size", "-v", "--volume", "--shared-volume", "-e", "--env", "--secret",
        "--secret-file", "--time", "--ttl", "--idle-timeout", "--grace", "-o",
        "--output", "--context", "--kubeconfig", "-n", "--namespace",
        "--user", "--replicas", "--nprocs-per-node", "--backend", "--nccl",
    }
)  # fmt: skip
"""Options of create that take the next word as their value; `--wait` takes it if it begins with a digit. A test
compares them with the command's own, which would take too long to load here."""
SHORT_VALUE_OPTIONS = "enouv"
"""Letters that take a value, whatever the command."""


def settings_flags(line: CommandLine, config: Config) -> list[str]:
    """The flags for settings that the command line leaves open; they belong behind the command's name."""
    flags: list[str] = []
    if not _is_given(line.own, "-n", "--namespace"):
        flags += _flag(config, "namespace", "--namespace")
    if line.full_name in WITH_OUTPUT and not _is_given(line.own, "-o", "--output"):
        flags += _flag(config, "output", "--output")
    if line.full_name == "create":
        flags += _create_flags(line.own[line.end_of_name :], config)
    return flags


def _create_flags(arguments: Sequence[str], config: Config) -> list[str]:
    pairs = list(_pairs(arguments))
    options = {name for name, _ in pairs}
    volumes = [value for name, value in pairs if name in ("-v", "--volume")]
    flags: list[str] = []
    positional = sum(name == "" for name, _ in pairs)
    if "--flavor" not in options and positional + ("--name" in options) < 2:
        flags += _flag(config, "flavor", "--flavor")
    if "--image" not in options:
        flags += _flag(config, "image", "--image")
    own_home = any(volume.split(":")[1:2] in ([names.HOME_PATH], [names.HOME_PATH + "/"]) for volume in volumes)
    if not options & {"--home-size", "--ephemeral"} and not own_home:
        flags += _flag(config, "homeSize", "--home-size")
    return flags


def _pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (option, value) for each option and ("", word) for each other argument."""
    remaining = iter(enumerate(arguments))
    for at, word in remaining:
        name, separator, value = word.partition("=")
        following = arguments[at + 1] if at + 1 < len(arguments) else ""
        if not word.startswith("-"):
            yield "", word
        elif separator and word.startswith("--"):
            yield name, value
        elif word in CREATE_VALUE_OPTIONS or (word == "--wait" and following[:1].isdigit()):
            next(remaining, None)
            yield word, following
        elif word[:2] in CREATE_VALUE_OPTIONS:  # -vdata:/data
            yield word[:2], word[2:]
        else:
            yield word, ""


def _is_given(arguments: Sequence[str], short: str, long: str) -> bool:
    # Up to the first letter that takes the rest of the word as its value: `-evenv=1` has no -n.
    letters = re.compile(rf"-[^-{SHORT_VALUE_OPTIONS}]*{short[1]}.*", re.S)
    return any(
        word == long or word.startswith(long + "=") or (word[:2] != "--" and letters.fullmatch(word))
        for word in arguments
    )


def _flag(config: Config, key: str, flag: str) -> list[str]:
    """The flag for a setting from this machine's file or environment."""
    setting = config.setting(key)
    return [flag, setting.value] if setting and setting.source not in ("default", "flag") else []
