"""Parses the command lines that people may run on the bastion.

Invariant: the result begins with a program that a person may run here, and is data: no shell reads it, before or
after.

Pure. Nothing is imported that a login would wait for: shlex only when there is something to unquote.
"""

from __future__ import annotations

from bastion.session.errors import CommandRefusedError

DEVCTL = "devctl"
KUBECTL = "kubectl"
MAX_CHARACTERS = 65536
"""Characters of a command."""
COPY = "devctl ssh-config"
_COPIERS = ("scp", "sftp", "sftp-server", "internal-sftp", "rsync", "git-upload-pack", "git-receive-pack")


def split(text: str) -> list[str]:
    """The words of a command as a POSIX shell would take them apart, and nothing else a shell does.

    Raises CommandRefusedError.
    """
    if len(text) > MAX_CHARACTERS:
        raise CommandRefusedError(
            f"a command of more than {MAX_CHARACTERS} characters is not taken; send it on standard input"
        )
    one_line = CommandRefusedError(
        "a command is one line of text, without control characters; quote a line break in a value"
    )
    if any((char < " " and char not in "\t\n") or char == "\x7f" for char in text):
        raise one_line
    if "\n" not in text and not any(char in "'\"\\" for char in text):
        return [word for word in text.replace("\t", " ").split(" ") if word]
    import shlex

    try:
        arguments = shlex.split(text)
    except ValueError:
        raise CommandRefusedError("the quotes of this command do not match; quote each word for itself") from None
    # Within quotes it belongs to a word, like the value of a variable; elsewhere it would begin another command.
    if text.count("\n") != sum(word.count("\n") for word in arguments):
        raise one_line
    return arguments


def for_audit(text: str) -> list[str]:
    """The words of a refused command as they go on record: one for one, or what follows a `--token` is not masked.

    Where a quote is open at the end, what it holds is one word: of a secret in several, only the first would be masked.
    """
    import shlex

    for end in ("", '"', "'", '\\"'):
        try:
            return shlex.split(text[:MAX_CHARACTERS] + end)
        except ValueError:
            continue
    return text.split()


def parse_command(text: str, kubectl: bool) -> list[str]:
    """The argv of what came with `ssh USER@bastion ...`.

    `kubectl` says whether that may be run too.

    Raises CommandRefusedError.
    """
    arguments = split(text)
    if not arguments:
        raise CommandRefusedError(f"there is no command; try `{DEVCTL} list`")
    if arguments[0] not in (DEVCTL, KUBECTL):  # as at the prompt; the table costs only who leaves it out
        from devctl.command_table import COMMANDS

        if arguments == ["help"]:
            arguments = ["--help"]
        if arguments[0] in COMMANDS or arguments[0].startswith("-"):
            arguments.insert(0, DEVCTL)
    _check(arguments, kubectl)
    return arguments


def parse_prompt_line(line: str, kubectl: bool, commands: tuple[str, ...] | frozenset[str]) -> list[str]:
    """The argv of a line at the prompt, where `devctl` may be left out before a command of `commands`.

    Raises CommandRefusedError.
    """
    arguments = split(line)
    if arguments and (arguments[0] in commands or arguments[0].startswith("-")):
        arguments.insert(0, DEVCTL)
    if arguments:
        _check(arguments, kubectl)
    return arguments


def _check(argv: list[str], kubectl: bool) -> None:
    first = argv[0]
    if first == DEVCTL:
        if argv[1:2] == ["credential"]:  # kubectl starts it by itself, and not through here
            raise CommandRefusedError(f"{DEVCTL} credential is kubectl's own; a token of yours is shown to nobody")
        return
    if first == KUBECTL:
        if not kubectl:
            raise CommandRefusedError(f"kubectl is switched off on this bastion; `{DEVCTL} --help` lists what there is")
        from bastion.session.kubectl import check

        check(argv)
        return
    if first.rsplit("/", 1)[-1] in _COPIERS:
        raise CommandRefusedError(
            f"nothing is kept on the bastion; copy to a server instead: `{COPY} --install` once on your machine, "
            "then `scp FILE NAME.devserver:`"
        )
    shown = "".join(char if char.isprintable() else "?" for char in first[:40])
    also = f" and {KUBECTL}" if kubectl else ""
    raise CommandRefusedError(
        f"{shown!r} is not possible here; the bastion runs {DEVCTL}{also} only, "
        f"`{DEVCTL} ssh NAME` opens a shell in a server"
    )
