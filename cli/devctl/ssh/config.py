"""The entries in ssh's configuration with which ssh, scp and editors reach servers.

Invariant: of ~/.ssh/config only the marked block is ever changed, and a host that is named there keeps its meaning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from devctl import validation
from devctl.config import HOST_SUFFIX
from devctl.files import replace_file
from devctl.output import console
from devctl.ssh import direct
from devctl.ssh.bastion import endpoint, transport
from devservers_core.errors import ApiError, CommandError, UnreachableError

if TYPE_CHECKING:
    from devctl.config import Config
    from devctl.context import Context


BEGIN, END = "# >>> devctl >>>", "# <<< devctl <<<"
_INCLUDE = re.compile(r"\s*include(?:\s*=\s*|\s+)(.+)", re.IGNORECASE)
_HOST = re.compile(r"\s*host(?:\s*=\s*|\s+)(.+)", re.IGNORECASE)


def refresh_entries(context: Context, name: str | None = None) -> None:
    """Write installed entries again; warn when that fails.

    With `name` only if that server has no entry yet.

    Does nothing where they are not installed, or where flags name other servers than the installed ones.
    """
    path = own_file(context.config)
    try:
        if context.broker or any(context.flags.values()) or not path.exists():
            return
        if name and f"Host {name}{HOST_SUFFIX}" in read_file(path):
            return
        write_private(path, entries(context))
    except (CommandError, ApiError, UnreachableError, OSError) as error:
        console.warn(f"{path} is as it was ({error}); `devctl ssh-config --install` writes it")


def installed(config: Config) -> bool:
    """Whether the entries are installed."""
    return own_file(config).exists()


def host_block(host_patterns: str, options: Mapping[str, str]) -> str:
    """One Host block of ssh_config."""
    return "\n".join([f"Host {host_patterns}", *(f"    {key} {value}" for key, value in options.items()), ""])


def host_patterns(server: str, taken: frozenset[str]) -> str:
    """The host patterns for `server`; `taken` are the names of other hosts."""
    return f"{server}{HOST_SUFFIX}" + ("" if server in taken else f" {server}")


def named_hosts(text: str) -> frozenset[str]:
    """The hosts that an ssh_config names outside devctl's block."""
    matches = (_HOST.fullmatch(line) for line in without_block(text).splitlines())
    return frozenset(word for match in matches if match for word in match[1].replace('"', " ").split())


def _taken_names(path: Path, folder: Path, depth: int = 4) -> frozenset[str]:
    """The hosts that a user's ssh_config and its Include files name. Raises OSError."""
    text = read_file(path)
    names = named_hosts(text)
    for match in filter(None, map(_INCLUDE.fullmatch, without_block(text).splitlines() if depth else ())):
        for word in match[1].replace('"', " ").split():
            # What isn't absolute is below ~/.ssh; any of it may be a pattern.
            pattern = folder / Path(word).expanduser()
            for file in Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))):
                names |= _taken_names(file, folder, depth - 1) if file.is_file() else frozenset()
    return names


def without_block(text: str) -> str:
    """An ssh_config without devctl's block."""
    if BEGIN not in text or END not in text:
        return text
    head, _, rest = text.partition(BEGIN)
    return head + rest.partition(END)[2].removeprefix("\n")


def entries(context: Context) -> str:
    """Entries for every server with SSH, and for the bastion. Raises CommandError, OSError."""
    taken = _taken_names(config_path := user_file(context.config), config_path.parent) | {
        endpoint.ALIAS,
        "localhost",
    }
    bastion = endpoint.configured(context.config)
    if bastion:
        listed = map(validation.server_name, transport.list_servers(bastion))
        return bastion_entries(bastion, {name: host_patterns(name, taken) for name in listed})
    servers = servers_with_ssh(context)
    lines = [f"# Made by `devctl ssh-config` for {context.namespace}; changes here are overwritten."]
    lines += [host_block(host_patterns(name, taken), direct.ssh_options(context, name)) for name in servers]
    if not servers:
        lines.append("# No servers yet: `devctl create NAME` makes one.")
    return _join(lines)


def bastion_entries(bastion: endpoint.Bastion, servers: Mapping[str, str]) -> str:
    """Entries for the bastion and for servers behind it; `servers` maps names to patterns."""
    lines = [
        "# Made by `devctl ssh-config`; changes here are overwritten.",
        host_block(endpoint.ALIAS, bastion.options()),
    ]
    lines += [host_block(typed, bastion.server_options(name)) for name, typed in servers.items()]
    return _join(lines)


def _join(lines: list[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


def servers_with_ssh(context: Context) -> list[str]:
    """The names of the servers that have SSH."""
    return [
        validation.server_name(s["metadata"]["name"]) for s in context.servers() if s["spec"].get("enableSSH", True)
    ]


def own_file(config: Config) -> Path:
    """The file of devctl's entries."""
    return config.path.with_name("ssh_config")


def user_file(config: Config) -> Path:
    """The user's own configuration of ssh."""
    return Path(config.environ.get("HOME") or "~").expanduser() / ".ssh" / "config"


def read_file(path: Path) -> str:
    """The content of a file, "" when there is none."""
    return path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""


def write_private(path: Path, text: str) -> None:
    """Replace a file, mode 0600, and keep a symbolic link a link. Raises OSError."""
    if text or path.exists():
        replace_file(path.resolve(), text, mode=0o600)
