"""devctl ssh-config: the entries with which ssh, scp, rsync and editors reach servers, printed or installed.

Invariant: of ~/.ssh/config only our marked block is ever changed, and a host that is named there stays what it is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devctl import jump, openssh, render, values
from devctl.defaults import HOST_SUFFIX
from devservers_core.errors import USAGE, ApiError, CommandError, UnreachableError

if TYPE_CHECKING:
    from devctl.config import Config
    from devctl.session import Session

BEGIN, END = "# >>> devctl >>>", "# <<< devctl <<<"
_INCLUDE = re.compile(r"\s*include(?:\s*=\s*|\s+)(.+)", re.IGNORECASE)
_HOST = re.compile(r"\s*host(?:\s*=\s*|\s+)(.+)", re.IGNORECASE)


def ssh_config_command(
    session: Session,
    install: Annotated[
        bool, typer.Option("--install", help="Write the entries to a file of ours and include it in ~/.ssh/config.")
    ] = False,
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Undo --install.")] = False,
) -> None:
    """Print, or install, SSH entries, so that ssh, scp, sftp and editors reach servers by name.

    A server is NAME.devserver, and NAME as long as ~/.ssh/config has no such host. Once installed, `devctl create` and
    `devctl code` keep the entries up to date; after making servers from elsewhere run it again.
    """
    if session.broker and (install or uninstall):
        raise CommandError(
            "the bastion has no file of yours to write",
            "`devctl ssh-config` prints what your machine needs",
            USAGE,
        )
    if install and uninstall:
        raise CommandError("--install and --uninstall contradict each other", "give one of them", USAGE)
    if session.broker:
        _from_the_bastion(session)
        return
    ours, theirs = _ours(session.config), _theirs(session.config)
    include = f"{BEGIN}\nInclude {openssh.quoted(str(ours))}\n{END}\n"
    try:
        if uninstall:
            _replace(theirs, without(_read(theirs)))
            ours.unlink(missing_ok=True)
            render.say(f"removed from {theirs}")
            return
        text = _entries(session)
        if not install:
            sys.stdout.write(text)
            return
        ours.parent.mkdir(parents=True, exist_ok=True)
        _replace(ours, text)
        theirs.parent.mkdir(mode=0o700, exist_ok=True)
        # First in the file: an Include below a Host line would belong to that Host only.
        before = _read(theirs)
        if not before.startswith(include):
            _replace(theirs, include + without(before))
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}", "make it writable, or use the printed text") from None
    render.say(f"wrote {ours}, included in {theirs}")
    render.say(f"ssh, scp, sftp and editors now reach every server as NAME or NAME{HOST_SUFFIX}")


def refresh(session: Session, name: str | None = None) -> None:
    """Write installed entries anew, with `name` only if that server is not among them; says what was in the way.

    Nothing happens where they are not installed, or where flags name other servers than the installed ones.
    """
    ours = _ours(session.config)
    try:
        if session.broker or any(session.flags.values()) or not ours.exists():
            return
        if name and f"Host {name}{HOST_SUFFIX}" in _read(ours):
            return
        _replace(ours, _entries(session))
    except (CommandError, ApiError, UnreachableError, OSError) as error:
        render.warn(f"{ours} is as it was ({error}); `devctl ssh-config --install` writes it")


def installed(config: Config) -> bool:
    """Whether there are entries to keep up to date."""
    return _ours(config).exists()


def block(patterns: str, options: Mapping[str, str]) -> str:
    """One Host entry."""
    return "\n".join([f"Host {patterns}", *(f"    {key} {value}" for key, value in options.items()), ""])


def patterns(server: str, taken: frozenset[str]) -> str:
    """What a person types for `server`, as a Host line has it; `taken` are the names of other hosts."""
    return f"{server}{HOST_SUFFIX}" + ("" if server in taken else f" {server}")


def hosts(text: str) -> frozenset[str]:
    """The hosts that an ssh_config names, without our block."""
    found = (_HOST.fullmatch(line) for line in without(text).splitlines())
    return frozenset(word for match in found if match for word in match[1].replace('"', " ").split())


def _taken(path: Path, folder: Path, depth: int = 4) -> frozenset[str]:
    """The hosts of a person's ssh_config and of the files it includes (ssh_config(5), Include). Raises OSError."""
    text = _read(path)
    found = hosts(text)
    for match in filter(None, map(_INCLUDE.fullmatch, without(text).splitlines() if depth else ())):
        for word in match[1].replace('"', " ").split():
            # What isn't absolute is below ~/.ssh; any of it may be a pattern.
            place = folder / Path(word).expanduser()
            for file in Path(place.anchor).glob(str(place.relative_to(place.anchor))):
                found |= _taken(file, folder, depth - 1) if file.is_file() else frozenset()
    return found


def without(text: str) -> str:
    """An ssh_config without our block."""
    if BEGIN not in text or END not in text:
        return text
    head, _, rest = text.partition(BEGIN)
    return head + rest.partition(END)[2].removeprefix("\n")


def _entries(session: Session) -> str:
    """An entry for every server that has SSH, and for the bastion if there is one. Raises CommandError, OSError."""
    taken = _taken(theirs := _theirs(session.config), theirs.parent) | {jump.ALIAS, "localhost"}
    bastion = jump.configured(session.config)
    if bastion:
        found = map(values.server_name, jump.listed(bastion))
        return _through(bastion, {name: patterns(name, taken) for name in found})
    servers = _with_ssh(session)
    lines = [f"# Made by `devctl ssh-config` for {session.namespace}; changes here are overwritten."]
    lines += [block(patterns(name, taken), openssh.options(session, name)) for name in servers]
    if not servers:
        lines.append("# No servers yet: `devctl create NAME` makes one.")
    return _text(lines)


def _through(bastion: jump.Bastion, servers: Mapping[str, str]) -> str:
    """Entries for the bastion and for servers behind it: what a person types for each, by its name."""
    lines = ["# Made by `devctl ssh-config`; changes here are overwritten.", block(jump.ALIAS, bastion.options())]
    lines += [block(typed, bastion.server_options(name)) for name, typed in servers.items()]
    return _text(lines)


def _text(lines: list[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


def _from_the_bastion(session: Session) -> None:
    """For a machine without devctl: what to put where, asked for by `ssh USER@bastion devctl ssh-config`."""
    from devctl import keys

    keys.notice(session)
    bastion = jump.here(session)
    render.out(f"# 1. This line into {jump.PORTABLE_KNOWN_HOSTS}, which is nobody else's file:")
    render.out(f"#    {bastion.authority_line()}".rstrip())
    render.out("# 2. What follows into ~/.ssh/devserver_config, and `Include devserver_config` first in ~/.ssh/config.")
    render.out("#    Again after making a server.")
    # Not the short names: which other hosts a person has can't be seen from here.
    sys.stdout.write(_through(bastion, {name: name + HOST_SUFFIX for name in _with_ssh(session)}))


def _with_ssh(session: Session) -> list[str]:
    """The names of the servers that have SSH."""
    return [values.server_name(s["metadata"]["name"]) for s in session.servers() if s["spec"].get("enableSSH", True)]


def _ours(config: Config) -> Path:
    return config.path.with_name("ssh_config")


def _theirs(config: Config) -> Path:
    return Path(config.environ.get("HOME") or "~").expanduser() / ".ssh" / "config"


def _read(path: Path) -> str:
    return path.read_text(errors="surrogateescape") if path.exists() else ""


def _replace(path: Path, text: str) -> None:
    """Write a file at once, mode 0600, keeping a symbolic link a link."""
    if not text and not path.exists():
        return
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.devctl")
    temporary.touch(mode=0o600)
    temporary.write_text(text, errors="surrogateescape")
    temporary.replace(path)
