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
from devctl.output import console
from devctl.ssh import direct, transport, via_bastion
from devservers_core.errors import ApiError, CommandError, UnreachableError

if TYPE_CHECKING:
    from devctl.config import Config
    from devctl.context import Context


BEGIN, END = "# >>> devctl >>>", "# <<< devctl <<<"
_INCLUDE = re.compile(r"\s*include(?:\s*=\s*|\s+)(.+)", re.IGNORECASE)
_HOST = re.compile(r"\s*host(?:\s*=\s*|\s+)(.+)", re.IGNORECASE)


def refresh_entries(context: Context, name: str | None = None) -> None:
    """Write installed entries anew, with `name` only if that server is not among them; says what was in the way.

    Nothing happens where they are not installed, or where flags name other servers than the installed ones.
    """
    ours = own_file(context.config)
    try:
        if context.broker or any(context.flags.values()) or not ours.exists():
            return
        if name and f"Host {name}{HOST_SUFFIX}" in read_file(ours):
            return
        replace_file(ours, entries(context))
    except (CommandError, ApiError, UnreachableError, OSError) as error:
        console.warn(f"{ours} is as it was ({error}); `devctl ssh-config --install` writes it")


def installed(config: Config) -> bool:
    """Whether there are entries to keep up to date."""
    return own_file(config).exists()


def host_block(host_patterns: str, options: Mapping[str, str]) -> str:
    """One Host entry."""
    return "\n".join([f"Host {host_patterns}", *(f"    {key} {value}" for key, value in options.items()), ""])


def host_patterns(server: str, taken: frozenset[str]) -> str:
    """What a person types for `server`, as a Host line has it; `taken` are the names of other hosts."""
    return f"{server}{HOST_SUFFIX}" + ("" if server in taken else f" {server}")


def named_hosts(text: str) -> frozenset[str]:
    """The hosts that an ssh_config names, without our block."""
    found = (_HOST.fullmatch(line) for line in without_block(text).splitlines())
    return frozenset(word for match in found if match for word in match[1].replace('"', " ").split())


def _taken_names(path: Path, folder: Path, depth: int = 4) -> frozenset[str]:
    """The hosts of a person's ssh_config and of the files it includes (ssh_config(5), Include). Raises OSError."""
    text = read_file(path)
    found = named_hosts(text)
    for match in filter(None, map(_INCLUDE.fullmatch, without_block(text).splitlines() if depth else ())):
        for word in match[1].replace('"', " ").split():
            # What isn't absolute is below ~/.ssh; any of it may be a pattern.
            place = folder / Path(word).expanduser()
            for file in Path(place.anchor).glob(str(place.relative_to(place.anchor))):
                found |= _taken_names(file, folder, depth - 1) if file.is_file() else frozenset()
    return found


def without_block(text: str) -> str:
    """An ssh_config without our block."""
    if BEGIN not in text or END not in text:
        return text
    head, _, rest = text.partition(BEGIN)
    return head + rest.partition(END)[2].removeprefix("\n")


def entries(context: Context) -> str:
    """An entry for every server that has SSH, and for the bastion if there is one. Raises CommandError, OSError."""
    taken = _taken_names(theirs := user_file(context.config), theirs.parent) | {via_bastion.ALIAS, "localhost"}
    bastion = via_bastion.configured(context.config)
    if bastion:
        found = map(validation.server_name, transport.list_servers(bastion))
        return bastion_entries(bastion, {name: host_patterns(name, taken) for name in found})
    servers = servers_with_ssh(context)
    lines = [f"# Made by `devctl ssh-config` for {context.namespace}; changes here are overwritten."]
    lines += [host_block(host_patterns(name, taken), direct.ssh_options(context, name)) for name in servers]
    if not servers:
        lines.append("# No servers yet: `devctl create NAME` makes one.")
    return _join(lines)


def bastion_entries(bastion: via_bastion.Bastion, servers: Mapping[str, str]) -> str:
    """Entries for the bastion and for servers behind it: what a person types for each, by its name."""
    lines = [
        "# Made by `devctl ssh-config`; changes here are overwritten.",
        host_block(via_bastion.ALIAS, bastion.options()),
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
    return config.path.with_name("ssh_config")


def user_file(config: Config) -> Path:
    return Path(config.environ.get("HOME") or "~").expanduser() / ".ssh" / "config"


def read_file(path: Path) -> str:
    return path.read_text(errors="surrogateescape") if path.exists() else ""


def replace_file(path: Path, text: str) -> None:
    """Write a file at once, mode 0600, keeping a symbolic link a link."""
    if not text and not path.exists():
        return
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.devctl")
    temporary.touch(mode=0o600)
    temporary.write_text(text, errors="surrogateescape")
    temporary.replace(path)
