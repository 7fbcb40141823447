"""Renders sshd's configuration for the OpenSSH version at hand.

Invariant: sshd gives a session to a person in our group with a key of our cache, and to nobody else for any
reason; and every option here is one that the sshd at hand knows, because it starts with none that it doesn't.

Pure. Each rule's source is sshd_config(5) and the release notes of the version that brought it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bastion.paths import GROUP, Paths
from devservers_core.names import HOST_CERTIFICATE_FILE, HOST_KEY_FILE
from devservers_core.ssh_keys import MIN_RSA_BITS

Version = tuple[int, int]
OLDEST: Version = (9, 2)
"""UnusedConnectionTimeout, and expiry-time in UTC (9.1). Debian 12 has 9.2, Debian 13 has 10.0."""
MAX_STARTUPS = "200:30:600"
"""sshd's own default, 10:30:100, loses people at random when a hundred come at once (measured: 54 of 100 got in)."""
# Lines that have no address in them say which process they are about, but only when they are asked for by name.
VERBOSE_FUNCTIONS = (
    "auth_log", "privsep_postauth", "kex_exchange_identification", "server_request_direct_tcpip",
    "server_request_direct_streamlocal", "channel_connect_to_port", "server_input_global_request",
    "server_input_channel_open", "session_input_channel_req",
)  # fmt: skip


class UnsupportedSshdError(RuntimeError):
    """This sshd lacks options that the bastion needs.

    The text names the version that can.
    """


@dataclass(frozen=True)
class SshdSettings:
    """What differs between bastions."""

    port: int = 2222
    session: str = "/usr/local/bin/devctl-session"
    """The program of every session; also each account's shell, because sshd starts it through that."""
    exempt: tuple[str, ...] = ()
    """Networks that are never made to wait: an office behind one address is many people."""
    listen: tuple[str, ...] = ("0.0.0.0", "[::]")
    max_startups: str = MAX_STARTUPS


def version_of(text: str) -> Version:
    """(9, 2) from `OpenSSH_9.2p1 ...`. Raises UnsupportedSshdError for one that will not do."""
    match = re.search(r"OpenSSH_(\d+)\.(\d+)", text)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    if version < OLDEST:
        raise UnsupportedSshdError(f"sshd says {text.strip()[:80]!r}; install OpenSSH {OLDEST[0]}.{OLDEST[1]} or later")
    return version


def render(paths: Paths, settings: SshdSettings, version: Version, certified: bool) -> str:
    """The file's text.

    `certified` says whether the host key has a certificate beside it.
    """
    host_key = paths.sshd / HOST_KEY_FILE
    options: list[tuple[str, object]] = [
        ("Port", settings.port),
        *(("ListenAddress", address) for address in settings.listen),
        ("PidFile", "none"),
        ("HostKey", host_key),
        *([("HostCertificate", paths.sshd / HOST_CERTIFICATE_FILE)] if certified else []),
        # Who.
        ("AllowGroups", GROUP),
        ("PermitRootLogin", "no"),
        ("AuthenticationMethods", "publickey"),
        ("PubkeyAuthentication", "yes"),
        ("PasswordAuthentication", "no"),
        ("KbdInteractiveAuthentication", "no"),
        ("HostbasedAuthentication", "no"),
        ("PermitEmptyPasswords", "no"),
        ("UsePAM", "no"),
        ("AuthorizedKeysFile", f"{paths.current}/keys/%u"),
        # keysync, which owns the files, is not root; in sshd's container they are on a read-only mount.
        ("StrictModes", "no"),
        ("RequiredRSASize", MIN_RSA_BITS),
        # What. Which forwards each key allows is in the key's own line, so adding a server needs no reload.
        ("ForceCommand", settings.session),
        # Without it sftp and scp would only be told that there is no such subsystem; the session says what to do.
        ("Subsystem", "sftp sftp-server"),
        ("AllowTcpForwarding", "local"),
        ("PermitListen", "none"),
        ("GatewayPorts", "no"),
        ("AllowStreamLocalForwarding", "no"),
        ("X11Forwarding", "no"),
        ("PermitTunnel", "no"),
        ("AllowAgentForwarding", "yes"),
        ("PermitUserEnvironment", "no"),
        ("PermitUserRC", "no"),
        ("AcceptEnv", "LANG LC_* TERM"),
        # How many and how long.
        ("MaxStartups", settings.max_startups),
        # Below the number where newcomers are dropped at random: one address alone never causes that.
        ("PerSourceMaxStartups", 150),
        # A host has a whole /64 of IPv6 to itself.
        ("PerSourceNetBlockSize", "32:64"),
        # Measured with 30 processes waiting for each core: 20 s cut off 82 of 100 people who came at once.
        ("LoginGraceTime", 60),
        # Each key of an agent is a try, and the right one may be the last of many. A guesser gains nothing: there are
        # no passwords, and a connection that ends without a login is penalized once, however many tries it had.
        ("MaxAuthTries", 100),
        ("MaxSessions", 10),
        ("ClientAliveInterval", 60),
        ("ClientAliveCountMax", 3),
        ("TCPKeepAlive", "yes"),
        ("UnusedConnectionTimeout", "10m"),
        *_penalties(settings, version),
        # Said and not said.
        ("LogLevel", "VERBOSE"),
        ("LogVerbose", ",".join(f"*:{name}():*" for name in VERBOSE_FUNCTIONS)),
        ("PrintMotd", "no"),
        ("PrintLastLog", "no"),
        ("Banner", "none"),
        ("VersionAddendum", "none"),
        ("UseDNS", "no"),
        ("Compression", "no"),
    ]
    return "".join(f"{name} {value}\n" for name, value in options)


def _penalties(settings: SshdSettings, version: Version) -> list[tuple[str, object]]:
    """Each second of waiting is a person's behind the same address as the guesser, so they are short.

    No invaliduser: Debian 13's 10.0p2 does not know it and then does not start.
    """
    if version < (9, 8):
        return []
    exempt = [("PerSourcePenaltyExemptList", ",".join(settings.exempt))] if settings.exempt else []
    return [("PerSourcePenalties", "authfail:1s noauth:1s max:60s"), *exempt]
