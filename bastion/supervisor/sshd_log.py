"""Parses records of sshd's log.

Invariant: a line of sshd's log is read from the end that the stranger can't write, so no user name or host name
in it is ever taken for an address.

Pure. The forms are those of OpenSSH 9.2 and 10.0 (auth.c, sshd.c, sshd-session.c, serverloop.c, channels.c,
session.c); a line of any other form says nothing. A line is one record of sshd's, which packets see to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FROM = r"from (?P<ip>[0-9a-fA-F:.]+(?:%\w+)?) port (?P<port>\d{1,5})"
_AT = r"(?P<ip>[0-9a-fA-F:.]+(?:%\w+)?) port (?P<port>\d{1,5})"
_TAG = re.compile(
    r"^(?:debug\d: )?[\w.-]+\.c:(?P<function>\w+)\(\):\d+ \((?:bin=[\w-]+, )?pid=(?P<pid>\d{1,7})\): (?P<text>.*)$"
)
_PREAUTH = re.compile(r" \[preauth\]$")
_ACCEPTED = re.compile(rf"^Accepted \S+ for (?P<user>.+) {_FROM} ssh2(?:: \S+ (?P<key>SHA256:[A-Za-z0-9+/]+).*)?$")
_FAILED = re.compile(
    rf"^Failed (?P<method>\S+) for (?:invalid user )?(?P<user>.*) {_FROM} ssh2(?:: \S+ (?P<key>SHA256:\S+).*)?$"
)
_CHILD = re.compile(r"^User child is on pid (\d{1,7})$")
_OPENED = re.compile(rf"^Connection {_FROM} on ")
_INVALID = re.compile(rf"^Invalid user (?P<user>.*) {_FROM}$")
_NOT_ALLOWED = re.compile(r"^User (?P<user>.*) from (?P<ip>[0-9a-fA-F:.]+) not allowed because (?P<why>.*)$")
_ENDED = re.compile(
    rf"^(?:Connection (?:closed|reset) by|Disconnected from|Disconnecting|Timeout before authentication for"
    rf"|Connection from)(?: (?:authenticating|invalid|user)\b.*)? {_AT}(?::.*)?$"
)
_DROPPED = re.compile(
    r"^drop connection #\d+ from \[(?P<ip>[^\]]+)\]:(?P<port>\d+) on \[[^\]]*\]:\d+ (?P<why>past \w+|penalty: .*)$"
)
_SOFTWARE = re.compile(r"^Remote protocol version [\d.]+, remote software version (.*)$")
_TCPIP = re.compile(r"^originator .* port \d+, target (?P<host>.*) port (?P<port>\d+)$")
_REFUSED = re.compile(r"^refused local port forward: originator .*, target (?P<host>.*) port (?P<target>\d+)$")
_DENIED = re.compile(
    rf"^Received request {_FROM} to connect to host (?P<host>.*) port (?P<target>\d+), but the request was denied\.$"
)
_GLOBAL = re.compile(r"^rtype (?P<what>tcpip-forward|streamlocal-forward@openssh\.com) ")
_STREAM = re.compile(r"^originator .*, target (?P<path>.*)$")
_TUNNEL = re.compile(r"^ctype tun@openssh\.com ")
_X11 = re.compile(r"^session \d+ req x11-req$")
Source = tuple[str, int]
WHOLE = 1000
"""Characters of a line that is surely whole: sshd cuts at 1024 bytes, prefix included (log.c, MSGBUFSIZ)."""
NAMELESS = "?"
"""The target of a forward whose line has it cut off: the originator before it is the client's own text, of any size."""


@dataclass(frozen=True)
class Opened:
    """A TCP connection came."""

    source: Source


@dataclass(frozen=True)
class Software:
    """What the client of this process calls itself."""

    pid: int
    version: str


@dataclass(frozen=True)
class Tried:
    """Somebody tried to log in as `user`, and why that was not enough."""

    source: Source | None
    user: str
    why: str
    key_fp: str | None = None


@dataclass(frozen=True)
class Accepted:
    """A person is in; `pid` is the process that stands for the whole connection."""

    source: Source
    pid: int
    user: str
    key_fp: str | None


@dataclass(frozen=True)
class Child:
    """`pid` works for the connection of `parent`, as the person."""

    parent: int
    pid: int


@dataclass(frozen=True)
class Forward:
    """The process `pid` was asked for a forward to `target`.

    `denied` when sshd said no to it.
    """

    pid: int
    target: str
    denied: bool
    unasked: bool = False
    """Of a denial: sshd said nothing of the request before."""


@dataclass(frozen=True)
class Ended:
    """A connection is over; it may have been one that never logged in."""

    source: Source
    why: str


@dataclass(frozen=True)
class Dropped:
    """A connection that was refused before it began."""

    source: Source
    why: str


Record = Opened | Software | Tried | Accepted | Child | Forward | Ended | Dropped


def parse(line: str) -> Record | None:
    """What a line says, None for one that says nothing of use."""
    line = line.strip("\r\n")
    if tagged := _TAG.match(line):
        whole = len(line) < WHOLE
        return _tagged(tagged["function"], int(tagged["pid"]), _PREAUTH.sub("", tagged["text"]), whole)
    line = _PREAUTH.sub("", line)
    if match := _OPENED.match(line):
        return Opened(_source(match))
    if match := _INVALID.match(line):
        return Tried(_source(match), match["user"], "there is no such user")
    if match := _NOT_ALLOWED.match(line):
        return Tried(None, match["user"], "this account may not log in")
    if match := _DROPPED.match(line):
        return Dropped(_source(match), match["why"])
    if match := _ENDED.match(line):
        return Ended(_source(match), "too slow" if line.startswith("Timeout") else "gone")
    return None


def _tagged(function: str, pid: int, text: str, whole: bool) -> Record | None:
    if function == "auth_log":
        if match := _ACCEPTED.match(text):
            return Accepted(_source(match), pid, match["user"], match["key"])
        if match := _FAILED.match(text):
            why = "the key is not one of theirs" if match["method"] == "publickey" else "no key was shown"
            return Tried(_source(match), match["user"], why, match["key"])
    elif function == "privsep_postauth" and (match := _CHILD.match(text)):
        return Child(pid, int(match[1]))
    elif function == "kex_exchange_identification" and (match := _SOFTWARE.match(text)):
        return Software(pid, match[1])
    elif function == "server_request_direct_tcpip" and text.startswith("originator"):
        # Of a line that was cut where its writer wanted nothing is believed.
        match = _TCPIP.match(text) if whole else None
        return Forward(pid, f"{match['host']}:{match['port']}" if match else NAMELESS, denied=False)
    elif match := _DENIED.match(text) or _REFUSED.match(text):
        return Forward(pid, f"{match['host']}:{match['target']}", denied=True)
    # What follows is refused by the configuration, always.
    elif function == "server_input_global_request" and (match := _GLOBAL.match(text)):
        return Forward(pid, match["what"].partition("@")[0], denied=True, unasked=True)
    elif function == "server_request_direct_streamlocal" and (match := _STREAM.match(text)):
        return Forward(pid, f"unix:{match['path']}", denied=True, unasked=True)
    elif (function == "server_input_channel_open" and _TUNNEL.match(text)) or (
        function == "session_input_channel_req" and _X11.match(text)
    ):
        what = "tunnel" if function == "server_input_channel_open" else "x11"
        return Forward(pid, what, denied=True, unasked=True)
    return None


def _source(match: re.Match[str]) -> Source:
    return match["ip"], int(match["port"])
