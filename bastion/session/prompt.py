"""The interactive prompt of a session: line editing, completion, history.

Invariant: a line at the prompt is one command with its words, run to its end, and no line is ever given to a shell.

History is this session's only: a file of it would outlive the session on one of several replicas, and hold what was
typed in the wrong window.
"""

from __future__ import annotations

import os
import readline
import signal
import sys
from contextlib import suppress
from time import monotonic

from bastion.session.audit_client import AuditSession, AuditUnavailableError, BusyError
from bastion.session.command_line import DEVCTL, KUBECTL, for_audit, parse_prompt_line
from bastion.session.errors import CommandRefusedError
from bastion.session.exit_codes import BUSY, NOT_ON_RECORD, NOT_POSSIBLE
from bastion.session.run import limit, run
from bastion.session.wrap import wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

PROMPT = "devctl> "
IDLE_SECONDS = 1800
MAX_HISTORY_LINES = 500
"""Lines of history."""
NAMES_SECONDS = 15.0
"""How long the names of servers that Tab offers are good for."""
_LEAVE = ("exit", "quit", "logout")
HELP = """\
One devctl command a line, with or without `devctl` before it: list, create NAME, ssh NAME, describe NAME, stop NAME.
  devctl --help      all commands; COMMAND --help explains one
  keys list          the SSH keys that open your account
  ssh-config         how to reach servers with ssh, scp and editors from your own machine
  exit               leave (Ctrl-D does too); Ctrl-C ends the running command, not this prompt
Tab completes, the arrow keys go through what you typed before. Every command is on record."""
HELP_KUBECTL = "  kubectl ...        with your own rights, in your own namespace"


class Prompt:
    """One interactive session."""

    def __init__(self, audit: AuditSession, env: dict[str, str], kubectl: bool) -> None:
        self._audit = audit
        self._env = env
        self._kubectl = kubectl
        self._commands: dict[str, tuple[str, ...]] = {}
        self._names: dict[str, list[str]] = {}
        """What Tab offers besides commands: servers, flavors, and the options of each command."""
        self._asked: dict[str, float] = {}
        self._completions: list[str] = []
        self.start: dict[str, object] = {}
        """The fields of session_start, for a new record after the audit process was away."""

    def loop(self) -> int:
        """Runs lines until the person leaves; the last command's exit code."""
        from devctl.command_table import COMMANDS, GROUPS

        self._commands = {**dict.fromkeys(COMMANDS, ()), **{name: tuple(subs) for name, subs in GROUPS.items()}}
        readline.set_completer(self._complete)
        readline.set_completer_delims(" \t")
        readline.parse_and_bind("tab: complete")
        readline.set_history_length(MAX_HISTORY_LINES)
        signal.signal(signal.SIGALRM, self._idle)
        code = 0
        while True:
            signal.alarm(IDLE_SECONDS)
            try:
                line = input(PROMPT)
            except KeyboardInterrupt:
                sys.stdout.write("\n")
                continue
            except (EOFError, OSError):
                sys.stdout.write("\n")
                return code
            except UnicodeDecodeError:
                self._say("this is not text; check your terminal's encoding (UTF-8 is expected)")
                continue
            finally:
                signal.alarm(0)
            if line.strip() in _LEAVE:
                return code
            if line.strip() in ("help", "?"):
                print(wrap("\n".join([HELP, *([HELP_KUBECTL] if self._kubectl else [])]), _columns()))
                continue
            code = self._run_line(line, code)

    def _run_line(self, line: str, code: int) -> int:
        """One line's code; `code` is the last one's."""
        try:
            return self._line(line, code)
        except AuditUnavailableError as refusal:
            self._say(str(refusal))
            return NOT_ON_RECORD
        except BusyError as refusal:
            self._say(str(refusal))
            return BUSY
        except KeyboardInterrupt:
            # The answer that was waited for would be taken for the next one.
            with suppress(AuditUnavailableError):
                self._restart_record()
            return 130

    def _line(self, line: str, code: int) -> int:
        """Raises AuditUnavailableError when nothing was done, KeyboardInterrupt."""
        try:
            argv = parse_prompt_line(line, self._kubectl, frozenset(self._commands))
        except CommandRefusedError as refusal:
            why = str(refusal)
            self._say(why)
            return self._retry_once(lambda: self._denied(line, why))
        return self._retry_once(lambda: run(argv, self._env, self._audit)) if argv else code

    def _denied(self, line: str, why: str) -> int:

        self._audit.report("denied", kind="denied", argv=for_audit(line), reason=why)
        return NOT_POSSIBLE

    def _retry_once(self, what: Callable[[], int]) -> int:
        """Runs `what`, and once more when the audit process was restarted.

        Where it is not on record nothing was done, so nothing is done twice.
        """
        try:
            return what()
        except AuditUnavailableError:
            self._restart_record()
            return what()

    def _restart_record(self) -> None:
        """Begins a new record for the same session, once the audit process is back. Raises AuditUnavailableError."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self._audit.start(**self.start)
        finally:
            signal.signal(signal.SIGINT, before)

    def _say(self, text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def _idle(self, number: int, frame: FrameType | None) -> None:
        sys.stdout.write(
            f"\nIdle for {IDLE_SECONDS // 60} minutes. Your servers run on without this session; Ctrl-D leaves.\n"
            f"{PROMPT}{readline.get_line_buffer()}"
        )
        sys.stdout.flush()

    def _complete(self, text: str, state: int) -> str | None:
        try:
            if state == 0:
                before = readline.get_line_buffer()[: readline.get_begidx()].split()
                self._completions = [word + " " for word in self._offered(before, text) if word.startswith(text)]
            return self._completions[state] if state < len(self._completions) else None
        except Exception:
            return None  # readline swallows it, and a prompt must survive Tab

    def _offered(self, before: list[str], text: str) -> list[str]:
        arguments = before[1:] if before[:1] == [DEVCTL] else before
        if not arguments:
            own = [] if before else [DEVCTL, "help", "exit", *([KUBECTL] if self._kubectl else [])]
            return sorted([*self._commands, *own])
        if arguments[0] == KUBECTL:
            return []
        subs = self._commands.get(arguments[0], ())
        if subs:
            return sorted(subs) if len(arguments) == 1 else []
        if arguments[0] not in self._commands:
            return []
        if text.startswith("-"):
            return self._names_of(f"options {arguments[0]}")
        if arguments[-1] in ("-o", "--output"):
            return ["table", "wide", "json", "yaml", "name"]
        named = [word for word in arguments[1:] if not word.startswith("-")]
        if arguments[-1] == "--flavor" or (arguments[0] == "create" and len(named) == 1):
            return self._names_of("flavors")
        return [] if arguments[0] == "create" else self._names_of("servers")

    def _names_of(self, what: str) -> list[str]:
        """Read by a child process, whose memory is freed with it."""
        if monotonic() - self._asked.get(what, -NAMES_SECONDS) > NAMES_SECONDS:
            self._asked[what] = monotonic()
            self._names[what] = _fetch_names(self._env, what)
        return self._names[what]


def _options(command: str) -> list[str]:
    from devctl.typer_commands import load

    return sorted({name for each in load(command, {}).params for name in each.opts if name.startswith("--")})


def _fetch_names(env: dict[str, str], what: str) -> list[str]:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            # Only the pipe is read: no output of devctl may reach the line that is being typed.
            nowhere = os.open(os.devnull, os.O_RDWR)
            for handle in (0, 1, 2):
                os.dup2(nowhere, handle)
            limit()
            os.environ.clear()
            os.environ.update(env)
            if what.startswith("options "):
                names = _options(what.partition(" ")[2])
            else:
                from devctl import completion
                from devctl.context import Context

                names = completion.FROM_CLUSTER[what](Context({}, None, timeout=completion.API_TIMEOUT_SECONDS))
            os.write(writer, "\n".join(names).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:  # noqa: PTH123 - a descriptor
        names = answer.read().decode(errors="replace").split()
    os.waitpid(child, 0)
    return names


def run_prompt(audit: AuditSession, env: dict[str, str], source: dict[str, object], kubectl: bool) -> int:
    """A whole interactive session, recorded if the stack wants that. Raises AuditUnavailableError before it begins."""
    size = os.get_terminal_size(0)
    start: dict[str, object] = {"kind": "shell", "argv": [], "columns": size.columns, "rows": size.lines, **source}
    audit.start(**start)
    prompt = Prompt(audit, env, kubectl)
    prompt.start = start
    if audit.record:
        from bastion.session.recorded import run_recorded

        return run_recorded(audit, lambda: _run_loop(prompt, env))
    return _run_loop(prompt, env)


def _columns() -> int:
    try:
        return os.get_terminal_size(1).columns
    except OSError:
        return 80


def _run_loop(prompt: Prompt, env: dict[str, str]) -> int:
    if "TERM" in env:
        os.environ["TERM"] = env["TERM"]
    else:
        os.environ.pop("TERM", None)
    for name in ("INPUTRC", "EDITOR", "LINES", "COLUMNS"):
        os.environ.pop(name, None)
    # Ctrl-\ and Ctrl-Z mean nothing at this prompt; a session that stops itself could only be killed.
    for each in (signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(each, signal.SIG_IGN)
    _greet(env)
    return prompt.loop()


def _greet(env: dict[str, str]) -> None:
    """The message of the day, by a child process: here the memory that TLS takes would stay for hours."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            limit()
            os.environ.clear()
            os.environ.update(env)
            from bastion.session.welcome import greet

            greet()
            sys.stdout.flush()
        except KeyboardInterrupt:
            pass
        finally:
            os._exit(0)
    while True:
        try:
            os.waitpid(child, 0)
            return
        except KeyboardInterrupt:
            continue
