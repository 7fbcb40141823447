"""The bastion that a laptop is configured for, and ssh's options for it.

Invariant: a kubeconfig or context that was asked for takes precedence over the bastion.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from devctl import validation
from devctl.config import Config
from devctl.ssh.options import KEEPALIVE, log_flags, option_flags, ssh_program
from devservers_core import names
from devservers_core.errors import USAGE, CommandError
from devservers_core.replicas import replica_name, replicas_domain

if TYPE_CHECKING:
    from devctl.context import Context


ALIAS = "devserver-bastion"
"""The bastion's host name in ssh_config, which no other host has."""
DEFAULT_PORT = 22
PORTABLE_KNOWN_HOSTS = "~/.ssh/devserver_known_hosts"
"""The known-hosts file on a machine without devctl."""
_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?")


def parse_address(text: str) -> tuple[str, int] | None:
    """Parse HOST or HOST:PORT; None for anything else."""
    match = _ADDRESS.fullmatch(text)
    port = int(match["port"] or DEFAULT_PORT) if match else 0
    return (match["host"].strip("[]"), port) if match and 0 < port < 65536 else None


class Bastion:
    """The configured bastion: user, address, and the authority of its host key."""

    def __init__(self, config: Config, known_hosts: str | None = None) -> None:
        """Raises CommandError for settings that are not valid. `known_hosts` is a file other than devctl's own."""
        setting = config.setting("bastion")
        assert setting is not None, "configured() has checked it"
        address = parse_address(setting.value)
        if not address:
            raise CommandError(
                f"bastion {setting.value!r} ({setting.source}) is not an address",
                "write HOST or HOST:PORT, like bastion.example.org",
                USAGE,
            )
        self.host, self.port = address
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
        self.known_hosts = known_hosts or str(config.path.with_name("known_hosts"))

    def options(self) -> dict[str, str]:
        """The options for the bastion itself, by ssh_config's keywords."""
        options = {"User": self.user, "HostName": self.host, "Port": str(self.port), **self._trust()}
        # Nine seconds in all for who is not in the right network. Tried again, because a replica that has just gone
        # refuses for a second or two, until nobody is sent to it any more.
        options |= {**KEEPALIVE, "ConnectTimeout": "4", "ConnectionAttempts": "2"}
        return options | self._identity()

    def server_options(self, server: str) -> dict[str, str]:
        """The options for a server behind the bastion."""
        host = names.host_of(server, self.user)
        options = {
            "User": names.LOGIN,
            "HostName": host,
            "Port": str(names.SSH_PORT),
            "ProxyJump": ALIAS,
            **self._trust(),
            **KEEPALIVE,
        }
        return options | self._identity()

    def authority_line(self) -> str:
        """The line of known_hosts that certifies the bastion and all its servers.

        Raises CommandError when nobody gave the key.
        """
        if not self.authority:
            raise CommandError(
                "the bastion's host key can't be verified: the setting hostAuthority is missing",
                "`devctl config set hostAuthority 'ssh-ed25519 ...'` with the line your administrator sent",
                USAGE,
            )
        hosts = [self.host if self.port == DEFAULT_PORT else f"[{self.host}]:{self.port}"]
        hosts.append(f"*.{names.namespace_of(self.user)}.{names.SERVICE_DOMAIN}")
        return f"@cert-authority {','.join(hosts)} {self.authority}\n"

    def trust(self) -> None:
        """Write known_hosts. Raises CommandError without a key, or if it can't be written."""
        line = self.authority_line()
        try:
            path = Path(self.known_hosts)
            if path.is_file() and path.read_text() == line:
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            from devctl.files import replace_file

            replace_file(path, line)
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}", "make it writable") from None

    def ssh(self, *arguments: str, log: str = "") -> list[str]:
        """The command line of ssh to the bastion; `arguments` are options before its name.

        With `log` its own messages go into that file. "Connection to HOST closed." is none that anybody needs.
        """
        # transport.py tries again itself where that may help, so one try may have all the time there is.
        options = {**self.options(), "LogLevel": "ERROR", "ConnectTimeout": "6", "ConnectionAttempts": "1"}
        return [*ssh_program(), *log_flags(log), *option_flags(options), *arguments, "--", ALIAS]

    def server_command(self, server: str, log: str = "", replica: int = 0) -> list[str]:
        """The command line of ssh to a server, without a configuration file.

        The bastion leads to a server's Service alone, which is replica 0; from there it goes on to another `replica`.

        ProxyJump would not pass these options to its connection to the bastion.
        """
        from devctl.ssh.known_hosts import unique_host

        options = self.server_options(server)
        del options["ProxyJump"]
        host = options["HostName"]
        first = self.ssh("-W", f"[{host}]:{names.SSH_PORT}", log=log)
        proxy = shlex.join(first).replace("%", "%%")
        # Another bastion may lead to a server of the same name: a connection to one is not shared with the other.
        options |= {"HostName": unique_host(server, f"{self.host}:{self.port}", host), "HostKeyAlias": host}
        if replica:
            name = replica_name(server, replica)
            host = f"{name}.{replicas_domain(server, self.user)}"
            first = [*ssh_program(), *log_flags(log), *option_flags(options), "-o", f"ProxyCommand={proxy}"]
            first += ["-W", f"[{host}]:{names.SSH_POD_PORT}", "--", server]
            proxy = shlex.join(first).replace("%", "%%")
            options |= {"HostName": unique_host(name, f"{self.host}:{self.port}", host), "HostKeyAlias": host}
        return [*ssh_program(), *log_flags(log), *option_flags(options), "-o", f"ProxyCommand={proxy}"]

    def _trust(self) -> dict[str, str]:
        from devctl.ssh.options import quoted

        return {
            "UserKnownHostsFile": quoted(self.known_hosts.replace("%", "%%")),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "CheckHostIP": "no",
            "UpdateHostKeys": "no",
        }

    def _identity(self) -> dict[str, str]:
        from devctl.ssh.options import quoted

        if not self.identity:
            return {}
        return {"IdentityFile": quoted(self.identity.replace("%", "%%")), "IdentitiesOnly": "yes"}


def configured(config: Config) -> Bastion | None:
    """The bastion to use; None if none is configured or a cluster is named."""
    if config.environ.get("DEVCTL_BROKER") or not config.get("bastion"):
        return None
    if config.get("kubeconfig") or config.get("context"):
        return None
    return Bastion(config)


def bastion_of_this_process(context: Context) -> Bastion:
    """The bastion on which this process runs, at its public address.

    Raises CommandError when the stack doesn't say how.
    """
    if not context.config.get("bastion"):
        raise CommandError("this bastion does not know its own address", "ask an administrator for it", USAGE)
    return Bastion(context.config, PORTABLE_KNOWN_HOSTS)


def _user(config: Config) -> str:
    setting = config.setting("user")
    if setting and validation.user_name(setting.value):
        return setting.value
    login = config.environ.get("USER") or ""
    if not setting and login != "root" and validation.user_name(login):
        return login
    raise CommandError(
        "devctl does not know who you are on the bastion",
        f"`devctl config set user NAME` writes it into {config.path}",
        USAGE,
    )
