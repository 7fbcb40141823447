"""The environment variables of what a session runs.

Invariant: what a person's client says about its environment reaches no program but as a terminal's name, a language
and the socket of a forwarded agent; everything else is ours.
"""

from __future__ import annotations

PATH = "/usr/local/bin:/usr/bin:/bin"
_LANGUAGES = (
    "LANG", "LC_ALL", "LC_ADDRESS", "LC_COLLATE", "LC_CTYPE", "LC_IDENTIFICATION", "LC_MEASUREMENT", "LC_MESSAGES",
    "LC_MONETARY", "LC_NAME", "LC_NUMERIC", "LC_PAPER", "LC_TELEPHONE", "LC_TIME",
)  # fmt: skip
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-@")


def session_environment(given: dict[str, str], broker: str, address: str = "", authority: str = "") -> dict[str, str]:
    """The environment of what a session runs.

    `given` is sshd's, `broker` the broker's socket.

    `address` is what people call this bastion, `authority` who vouches for its host key; "" when the stack doesn't say.
    """
    found = {
        "PATH": PATH,
        "HOME": "/",
        "SHELL": "/bin/false",
        "USER": given["USER"],
        "LOGNAME": given["USER"],
        "DEVCTL_BROKER": broker,
        "DEVCTL_USER": given["USER"],
    }
    if address:
        found["DEVCTL_BASTION"] = address
    if authority:
        found["DEVCTL_HOST_AUTHORITY"] = authority
    for name in ("TERM", *_LANGUAGES):
        value = given.get(name, "")
        if value and len(value) <= 64 and _PLAIN.issuperset(value):
            found[name] = value
    for name in ("SSH_AUTH_SOCK", "SSH_TTY"):  # of sshd's own making, unlike TERM and the languages
        if given.get(name):
            found[name] = given[name]
    return found


def connection_source(given: dict[str, str]) -> dict[str, object]:
    """Where the connection comes from, as audit events have it."""
    address, _, rest = given.get("SSH_CONNECTION", "").partition(" ")
    port = rest.partition(" ")[0]
    return {"src_ip": address, "src_port": int(port)} if port.isdigit() else {}
