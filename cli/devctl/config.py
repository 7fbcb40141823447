"""Settings of devctl: flag, then environment, then file, then default.

Invariant: reading settings never touches the network, and a file that cannot be read as settings is refused with its
line and key. The file is $XDG_CONFIG_HOME/devctl/config.yaml (~/.config/devctl/config.yaml).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from devservers_core import names
from devservers_core.errors import USAGE, CommandError
from devservers_core.paths import Paths

DEFAULT_HOME_SIZE = "10Gi"
HOST_SUFFIX = ".devserver"
"""Suffix of the host name that a user gives to ssh, scp and editors: `mydev.devserver`."""
OUTPUTS = ("table", "wide", "json", "yaml", "name")
# key in the file -> environment variable, what it means
KEYS: dict[str, tuple[str, str]] = {
    "user": ("DEVCTL_USER", "who you are on the platform"),
    "context": ("DEVCTL_CONTEXT", "context of the kubeconfig to use"),
    "kubeconfig": ("DEVCTL_KUBECONFIG", "kubeconfig file to use"),
    "namespace": ("DEVCTL_NAMESPACE", "namespace of your servers"),
    "flavor": ("DEVCTL_FLAVOR", "flavor of a new server"),
    "image": ("DEVCTL_IMAGE", "image of a new server"),
    "homeSize": ("DEVCTL_HOME_SIZE", "size of a new server's home, or none"),
    "output": ("DEVCTL_OUTPUT", "how lists are printed: " + ", ".join(OUTPUTS)),
    "identityFile": ("DEVCTL_IDENTITY_FILE", "private key for devctl ssh"),
    "bastion": ("DEVCTL_BASTION", "bastion to work through, HOST or HOST:PORT"),
    "hostAuthority": (
        "DEVCTL_HOST_AUTHORITY",
        "public key that certifies the host keys of the bastion and all servers",
    ),
}
DEFAULTS = {"flavor": names.DEFAULT_FLAVOR, "homeSize": DEFAULT_HOME_SIZE, "output": "table"}
PATHS = ("kubeconfig", "identityFile")


@dataclass(frozen=True)
class Setting:
    """A value and its source: `flag`, an environment variable, the file, `default`."""

    value: str
    source: str


def config_file(environ: Mapping[str, str]) -> Path:
    """The path of the user's configuration file, whether it exists or not."""
    return Paths.of(environ).config


def state_folder(environ: Mapping[str, str]) -> Path:
    """The folder of files that devctl can make again, such as pinned host keys."""
    return Paths.of(environ).state.with_name("devctl")


def broken(path: Path, line: int, what: str, remedy: str) -> CommandError:
    """A CommandError that names the line of the file, counted from 1."""
    return CommandError(f"{path} line {line}: {what}", remedy, USAGE)


def parse(text: str, path: Path) -> dict[str, Setting]:
    """Parse a configuration file. Raises CommandError that names line and key."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root = yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise broken(path, line, f"not YAML: {error.problem or 'cannot be read'}", "correct that line") from None
    except yaml.YAMLError as error:
        raise broken(path, 1, f"not YAML: {error}", "correct or remove the file") from None
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag.endswith(":null")):
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise broken(path, root.start_mark.line + 1, "expected `key: value` lines", "write it like `user: ann`")
    settings: dict[str, Setting] = {}
    for key_node, value_node in root.value:
        line, key = key_node.start_mark.line + 1, str(key_node.value)
        if key not in KEYS:
            similar = get_close_matches(key, KEYS, 1)
            remedy = f"did you mean {similar[0]}?" if similar else "known keys: " + ", ".join(KEYS)
            raise broken(path, line, f"unknown key {key!r}", remedy)
        if key in settings:
            raise broken(path, line, f"key {key!r} appears twice", "keep one of them")
        if not isinstance(value_node, yaml.ScalarNode):
            raise broken(path, line, f"{key} must be one value", f"write it like `{key}: value`")
        if value_node.tag.endswith(":null") or not value_node.value:
            raise broken(path, line, f"{key} has no value", "give it one or remove the line")
        value = value_node.value
        if key == "output" and value not in OUTPUTS:
            raise broken(path, line, f"output {value!r} is unknown", "use one of " + ", ".join(OUTPUTS))
        settings[key] = Setting(value, str(path))
    return settings


class Config:
    """The settings in force.

    `flags` are the settings given on the command line; None stands for one that was not given.
    """

    def __init__(self, flags: Mapping[str, str | None], environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.path = config_file(environ)
        self.flags = {key: value for key, value in flags.items() if value is not None}
        try:
            text = self.path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            text = ""
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{self.path} cannot be read: {error}", "correct or remove the file", USAGE) from None
        self.file = parse(text, self.path) if text.strip() else {}

    def setting(self, key: str) -> Setting | None:
        """The value of `key` by precedence; None when it is not set and has no default."""
        if key in self.flags:
            return self._expanded(key, Setting(self.flags[key], "flag"))
        variable = KEYS[key][0]
        if self.environ.get(variable):
            value = self.environ[variable]
            if key == "output" and value not in OUTPUTS:
                raise CommandError(f"{variable}={value} is unknown", "use one of " + ", ".join(OUTPUTS), USAGE)
            return self._expanded(key, Setting(value, variable))
        if key in self.file:
            return self._expanded(key, self.file[key])
        return Setting(DEFAULTS[key], "default") if key in DEFAULTS else None

    def get(self, key: str) -> str | None:
        """The value of `key` without its source."""
        setting = self.setting(key)
        return setting.value if setting else None

    def _expanded(self, key: str, setting: Setting) -> Setting:
        if key not in PATHS:
            return setting
        # kubeconfig may be a list, as $KUBECONFIG is; a single file may have a colon in its name.
        listed = key == "kubeconfig" and not Path(setting.value).exists()
        paths = [Path(entry).expanduser() for entry in (setting.value.split(os.pathsep) if listed else [setting.value])]
        if setting.source == str(self.path):
            # A path in a file is relative to that file, not to where one stands.
            paths = [self.path.parent / path for path in paths]
        return Setting(os.pathsep.join(map(str, paths)), setting.source)
