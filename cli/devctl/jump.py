"""On a laptop with `bastion: HOST` configured and no cluster: devctl runs on the bastion, over ssh.

Invariant: what is not ours to do here is done there with the very same words, quoted so that the bastion takes them
apart as they were; servers are reached by ssh's own ProxyJump. A kubeconfig or context that was asked for wins.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from devctl import values
from devctl.config import Config
from devctl.defaults import KEEPALIVE
from devservers_core import names
from devservers_core.errors import TRANSPORT, USAGE, CommandError

if TYPE_CHECKING:
    from devctl.session import Session

LOCAL = frozenset({"ssh", "ssh-config", "code", "config", "info", "version", "user", "admin"})
"""Commands that are this machine's own matter, and those of administrators, who have credentials of their own."""
ALIAS = "devserver-bastion"
"""The bastion in ssh_config: short to type, and no other host's name."""
DEFAULT_PORT = 22
PORTABLE_KNOWN_HOSTS = "~/.ssh/devserver_known_hosts"
"""Where the trust is kept on a machine without devctl."""
_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?")


def address(text: str) -> tuple[str, int] | None:
    """Host and port out of HOST or HOST:PORT; None for anything else."""
    found = _ADDRESS.fullmatch(text)
    port = int(found["port"] or DEFAULT_PORT) if found else 0
    return (found["host"].strip("[]"), port) if found and 0 < port < 65536 else None


class Bastion:
    """The bastion that is configured: who one is there, where it is, who vouches for its host key."""

    def __init__(self, config: Config) -> None:
        """Raises CommandError for settings that can't be."""
        setting = config.setting("bastion")
        assert setting is not None, "whoever asks has looked"
        found = address(setting.value)
        if not found:
            raise CommandError(
                f"bastion {setting.value!r} ({setting.source}) is not an address",
                "write HOST or HOST:PORT, like bastion.example.org",
                USAGE,
            )
        self.host, self.port = found
        self.user = _user(config)
        self.identity = config.get("identityFile")
        from devservers_core import ssh_keys

        authority = config.setting("hostAuthority")
        key = ssh_keys.ed25519(authority.value) if authority else None
        if authority and key is None:
            raise CommandError(
                f"hostAuthority ({authority.source}) is not an ssh-ed25519 public key",
                "take the line that your administrator sent, or the one of `devctl user show`",
                USAGE,
            )
        self.authority = key.text if key else None
        self.known_hosts = str(config.path.with_name("known_hosts"))

    def options(self) -> dict[str, str]:
        """ssh's options for the bastion itself, in ssh_config's words."""
        found = {"User": self.user, "HostName": self.host, "Port": str(self.port), **self._trust()}
        # Nine seconds in all for who is not in the right network. Tried again, because a replica that has just gone
        # refuses for a second or two, until nobody is sent to it any more.
        found |= {**KEEPALIVE, "ConnectTimeout": "4", "ConnectionAttempts": "2"}
        return found | self._identity()

    def server_options(self, server: str) -> dict[str, str]:
        """ssh's options for a server behind it."""
        host = names.host_of(server, self.user)
        found = {
            "User": names.LOGIN,
            "HostName": host,
            "Port": str(names.SSH_PORT),
            "ProxyJump": ALIAS,
            **self._trust(),
            **KEEPALIVE,
        }
        return found | self._identity()

    def authority_line(self) -> str:
        """The one line of known_hosts that spares people every question.

        Raises CommandError when nobody gave the key.
        """
        if not self.authority:
            raise CommandError(
                "it is not known who vouches for the bastion's host key",
                "`devctl config set hostAuthority 'ssh-ed25519 ...'` with the line your administrator sent",
                USAGE,
            )
        hosts = [self.host if self.port == DEFAULT_PORT else f"[{self.host}]:{self.port}"]
        hosts.append(f"*.{names.namespace_of(self.user)}.{names.SERVICE_DOMAIN}")
        return f"@cert-authority {','.join(hosts)} {self.authority}\n"

    def trust(self) -> None:
        """Write known_hosts; raises CommandError when nobody gave the key or it can't be written."""
        line = self.authority_line()
        try:
            path = Path(self.known_hosts)
            if path.is_file() and path.read_text() == line:
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            partial.write_text(line)
            partial.replace(path)
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}", "make it writable") from None

    def ssh(self, *words: str, log: str = "") -> list[str]:
        """ssh's command line to the bastion; `words` are its options, the bastion's name follows them.

        With `log` its own messages go into that file. "Connection to HOST closed." is none that anybody needs.
        """
        # transport.py tries again itself where that may help, so one try may have all the time there is.
        options = {**self.options(), "LogLevel": "ERROR", "ConnectTimeout": "6", "ConnectionAttempts": "1"}
        return [*program(), *_log(log), *_flags(options), *words, "--", ALIAS]

    def hop(self, server: str, log: str = "") -> list[str]:
        """ssh's command line to a server, without a file; ProxyJump would not pass our options to its first hop."""
        from devctl.knownhosts import unique_host

        options = self.server_options(server)
        del options["ProxyJump"]
        host = options["HostName"]
        first = self.ssh("-W", f"[{host}]:{names.SSH_PORT}", log=log)
        proxy = shlex.join(first).replace("%", "%%")
        # Another bastion may lead to a server of the same name: a connection to one is not shared with the other.
        options |= {"HostName": unique_host(server, f"{self.host}:{self.port}", host), "HostKeyAlias": host}
        return [*program(), *_log(log), *_flags(options), "-o", f"ProxyCommand={proxy}"]

    def _trust(self) -> dict[str, str]:
        from devctl.openssh import quoted

        return {
            "UserKnownHostsFile": quoted(self.known_hosts.replace("%", "%%")),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "CheckHostIP": "no",
            "UpdateHostKeys": "no",
        }

    def _identity(self) -> dict[str, str]:
        from devctl.openssh import quoted

        if not self.identity:
            return {}
        return {"IdentityFile": quoted(self.identity.replace("%", "%%")), "IdentitiesOnly": "yes"}


def configured(config: Config) -> Bastion | None:
    """The bastion to work through; None where a cluster is asked for, or no bastion is configured."""
    if config.environ.get("DEVCTL_BROKER") or not config.get("bastion"):
        return None
    if config.get("kubeconfig") or config.get("context"):
        return None
    return Bastion(config)


def here(session: Session) -> Bastion:
    """The bastion that this process is on, as its people reach it.

    Raises CommandError when the stack doesn't say how.
    """
    if not session.config.get("bastion"):
        raise CommandError("this bastion does not know its own address", "ask an administrator for it", USAGE)
    found = Bastion(session.config)
    found.known_hosts = PORTABLE_KNOWN_HOSTS
    return found


def through(args: list[str]) -> None:
    """Become ssh, if this command line is one for the bastion; otherwise nothing happens. Raises CommandError."""
    from devctl.commands import COMMANDS

    at = next((n for n, word in enumerate(args) if word in COMMANDS), None)
    ours = args[: args.index("--")] if "--" in args else args  # the rest belongs to what runs in the server
    if at is None or args[at] in LOCAL or {"-h", "--help"} & set(ours):
        return
    flags, asked = _common(ours)
    if args[at] == "keys" and "user" in asked:  # an administrator's, with credentials of their own
        return
    if any(flag in asked for flag in ("kubeconfig", "context")) or "_DEVCTL_COMPLETE" in os.environ:
        return
    config = Config(flags, os.environ)
    bastion = configured(config)
    if bastion is None:
        return
    from devctl import remote_flags, transport

    bastion.trust()
    args = remote_flags.added(_with_key(args, at), at, config)
    command = shlex.join(["devctl", *args])
    switches = _switches(args[at], ours[at + 1 :])
    if "-t" in switches and not sys.stdout.isatty() and sys.stderr.isatty():
        os.dup2(2, 1)  # a terminal has one output, and the prompt is in it; the answer to a login has nothing else
    code = transport.run(bastion, lambda log: [*bastion.ssh(*switches, log=log), command])
    if args[at] == "create" and code == 0:
        _refresh(flags)
    sys.stdout.flush()
    sys.exit(code)


def _switches(command: str, words: list[str]) -> tuple[str, ...]:
    """ssh's options for terminal and input of a command; `words` are those behind its name, before `--`."""
    typed = sys.stdin.isatty()
    # A password is typed at a terminal of the bastion, wherever the output goes: else this one would show it.
    seen = _reads_password(command, words) or (sys.stdout.isatty() and sys.stderr.isatty())
    # ssh would read what a shell's loop is reading from, and the loop would end after its first round.
    quiet = () if typed or _reads_input(command, words) else ("-n",)
    return ("-t" if typed and seen else "-T", *quiet)


def _reads_input(command: str, words: list[str]) -> bool:
    """Whether a command reads standard input that is no terminal."""
    if command == "exec":
        return any(word == "--stdin" or re.fullmatch("-[a-zA-Z]*i[a-zA-Z]*", word) for word in words)
    return command in ("shell", "proxy", "keys") or _reads_password(command, words)


def _reads_password(command: str, words: list[str]) -> bool:
    return command == "registry" and "login" in words


def _refresh(flags: dict[str, str | None]) -> None:
    """Bring ssh's entries up to date after a server was made, if they are kept."""
    from devctl import sshconfig
    from devctl.session import Session

    session = Session(flags, None)
    if sshconfig.installed(session.config):
        sshconfig.refresh(session)


def _common(words: list[str]) -> tuple[dict[str, str | None], set[str]]:
    """The flags that decide who and where, as far as they can be told without the command's own."""
    flags: dict[str, str | None] = {}
    for number, word in enumerate(words):
        for flag in ("user", "kubeconfig", "context"):
            if word == f"--{flag}" and number + 1 < len(words):
                flags[flag] = words[number + 1]
            elif word.startswith(f"--{flag}="):
                flags[flag] = word.partition("=")[2]
    return flags, set(flags)


def _with_key(args: list[str], at: int) -> list[str]:
    """A public key of this machine is read here and sent as its text. Raises CommandError, for a private key above all.

    The file is not on the bastion, and what standard input holds may be a private key, which must not leave.
    """
    if args[at : at + 2] != ["keys", "add"]:
        return args
    from devctl.keys import from_file

    positional, words = [], iter(range(at + 2, len(args)))
    for number in words:
        if args[number] == "-" or not args[number].startswith("-") or "PRIVATE KEY" in args[number]:
            positional.append(number)
        elif args[number] in ("--expires", "--user", "--context", "--kubeconfig", "--namespace", "-n"):
            next(words, None)
    if not positional:
        return args
    if len(positional) == 1:
        return [*args, from_file("-", None)]
    key = positional[1]
    return [*args[:key], from_file(args[key], None), *args[key + 1 :]]


def listed(bastion: Bastion) -> list[str]:
    """The names of the person's servers, asked over ssh. Raises CommandError."""
    from devctl.transport import output

    bastion.trust()
    answer = output(bastion, ["devctl", "list", "-o", "name"])
    return [line.partition("/")[2] for line in answer.splitlines() if "/" in line]


def program() -> list[str]:
    """The system's ssh."""
    binary = shutil.which("ssh")
    if not binary:
        raise CommandError("there is no ssh program on this machine", "install OpenSSH's client", TRANSPORT)
    return [binary]


def _log(file: str) -> list[str]:
    return ["-E", file] if file else []


def _flags(options: Mapping[str, str]) -> list[str]:
    return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]


def _user(config: Config) -> str:
    setting = config.setting("user")
    if setting and values.user_name(setting.value):
        return setting.value
    login = config.environ.get("USER") or ""
    if not setting and login != "root" and values.user_name(login):
        return login
    raise CommandError(
        "devctl does not know who you are on the bastion",
        f"`devctl config set user NAME` writes it into {config.path}",
        USAGE,
    )


def become(words: list[str]) -> NoReturn:
    """Go on as another program."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(words[0], words)
