"""Masks secrets in command lines, for the audit log and for `devctl describe`.

devservers_core.masking decides by names and shapes; here are the ways in which a command line gives a value: as the
word after a flag, after `=` or `:`, over several words, within one word that is a command line itself.

Invariant: every pattern is matched in linear time, because people choose the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from devservers_core.masking import MASK, is_secret_name, mask_text

_FLAG = re.compile(r"--?[A-Za-z][A-Za-z0-9_.-]*+")
_NAME = re.compile(r"(?<![A-Za-z0-9_.-])([A-Za-z0-9_.-]++)(?:\\*+[\"'])?\s*+[=:]\s*+")
_VALUE = re.compile(
    r"(?P<scheme>(?:bearer|basic|token|digest)\s++)?"
    # Not what follows the value: that may be a command.
    r"""(?:\\+"[^"]*+"|"(?:[^"\\]|\\.)*+"|'[^']*+'|\\*["']?[^\s;&|"']+)""",
    re.IGNORECASE,
)
_VARIABLES = frozenset(("-e", "--env", "--from-literal"))
"""Flags whose value is NAME=VALUE; the name is enough for a log, whatever it is."""
_VARIABLE = re.compile(r"((?:-e=?|--env=|--from-literal=)?[A-Za-z_.-][A-Za-z0-9_.-]*+=)[\s\S]+")
_ATTACHED = re.compile(r"(?:-e=?[A-Za-z_]|--env=|--from-literal=)[\s\S]*=")
_IN_LINE = re.compile(r"(?<!\S)(?:-e(?:\s++|=)?|--(?:env|from-literal)(?:\s++|=))([\"']?)[A-Za-z_.-][A-Za-z0-9_.-]*+=")
_BARE = r"""(?:\\++"[^"]*+"?|\\++'[^']*+'?|"(?:[^"\\]|\\[\s\S])*+"?|'[^']*+'?|\\[\s\S]|[^\s;&|"'\\])*+"""
_REST = {
    "": re.compile(_BARE),
    "'": re.compile(r"[^']*+'?" + _BARE),
    '"': re.compile(r'(?:[^"\\]|\\[\s\S])*+"?' + _BARE),
}
"""What is left of a word, as a shell takes it, by the quote that is open; one that nothing ends goes on to the end."""
_ACCOUNTS = frozenset(("-u", "--user", "--proxy-user"))
_ACCOUNT = re.compile(r"((?:-u)?[^\s:/]++:)[^\s/]++")
_PASSWORD_CLIENT = re.compile(r"(?:\A|/)(?:mysql|mariadb|sshpass|mongo|redis-cli|clickhouse)[a-z-]*\Z")
_SPACE = re.compile(r"(\s+)")
_BEGIN, _END = "-----BEGIN", "-----END"
MAX_HEADER = 6
"""Words from BEGIN to `PRIVATE KEY-----`."""


def mask(argv: Iterable[str]) -> list[str]:
    """The words with what looks like a secret replaced: `--token X`, `TOKEN=X`, `-e A=X`, `Bearer X`."""
    arguments = _without_keys(list(argv))
    return _flags([_masked(word) for word in arguments])


def _without_keys(arguments: list[str]) -> list[str]:
    """Private keys that go over several words, or end nowhere, as one mask."""
    masked, at = [], 0
    while at < len(arguments):
        word = arguments[at]
        if _BEGIN not in word or "PRIVATE KEY" not in " ".join(arguments[at : at + MAX_HEADER]):
            masked.append(word)
            at += 1
            continue
        masked.append(word[: word.index(_BEGIN)].strip("'\"") + MASK)
        while at < len(arguments) and _END not in arguments[at]:
            at += 1
        tail = ""
        while at < len(arguments):
            rest = arguments[at].rpartition(_END)[2]
            tail, at = rest.rpartition("KEY-----")[2].strip("'\""), at + 1
            if "KEY-----" in rest:
                break
        if tail:
            masked.append(tail)
    return masked


def _masked(word: str) -> str:
    """One word: what is secret by its shape or by a name before it."""
    text, pieces, at = mask_text(word), [], 0
    for match in _NAME.finditer(text):
        if match.start() < at or not (match[1].lower() == "value" or is_secret_name(match[1])):
            continue
        value = _VALUE.match(text, match.end())
        if value is not None:
            pieces += [text[at : match.end()], value["scheme"] or "", MASK]
            at = value.end()
    text = _variables("".join([*pieces, text[at:]]))
    if _SPACE.search(text):  # it may be a command line itself: sh -c "tool --token X"
        parts = _SPACE.split(text)
        parts[::2] = _flags(parts[::2])
        text = "".join(parts)
    return text


def _variables(text: str) -> str:
    """The values of `-e NAME=VALUE` within a word that is a command line itself, with all that their quotes hold."""
    pieces: list[str] = []
    at = 0
    for match in _IN_LINE.finditer(text):
        if match.start() < at:
            continue
        rest = _REST[match[1]].match(text, match.end())
        if rest is not None and rest.end() > match.end():
            pieces += [text[at : match.end()], MASK, match[1]]
            at = rest.end()
    return "".join([*pieces, text[at:]])


def _flags(arguments: list[str]) -> list[str]:
    """The words that follow a flag, or are part of it."""
    masked: list[str] = []
    flag, password_client = "", False
    for word in arguments:
        before, flag = flag, ""
        password_client = password_client or _PASSWORD_CLIENT.search(word[-64:]) is not None
        if before in _VARIABLES or _ATTACHED.match(word[:512]):
            word = _VARIABLE.sub(rf"\g<1>{MASK}", word, count=1)
        elif before in _ACCOUNTS or (word.startswith("-u") and ":" in word):
            word = _ACCOUNT.sub(rf"\g<1>{MASK}", word, count=1)
        elif before and not word.startswith("--"):
            word = MASK if word else word
        elif password_client and word.startswith("-p") and len(word) > 2:
            word = f"-p{MASK}"
        elif _FLAG.fullmatch(word) and (word in _VARIABLES | _ACCOUNTS | {"-k"} or is_secret_name(word.lstrip("-"))):
            flag = word
        masked.append(word)
    return masked
