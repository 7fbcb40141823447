"""The command line itself: which commands exist, what all of them share, and how a run ends.

Invariant: only the module of the command asked for is imported, and `devctl --help` imports no command at
all: the summaries stand in devctl.commands. No exception becomes a traceback unless --debug was given.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from devctl.commands import COMMANDS, COMMON, GROUPS, INSTEAD, MEANT, PARTS, overview
from devservers_core.errors import FAILURE, INTERRUPTED, READER_LEFT, USAGE, ApiError, CommandError, UnreachableError

if TYPE_CHECKING:
    import inspect

    from devctl.session import Session


def main() -> None:
    """Run what devctl.__main__ leaves, and exit with the documented codes."""
    open_closed_streams()
    args = asked_for_help(sys.argv[1:])
    if args in ([], ["--help"], ["-h"]) and "_DEVCTL_COMPLETE" not in os.environ:
        try:
            print(overview(), flush=True)
        except BrokenPipeError:
            sys.exit(reader_left())
        sys.exit(0 if args else USAGE)
    debug = "--debug" in (args[: args.index("--")] if "--" in args else args)
    try:
        try:
            code = start(args)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except KeyboardInterrupt:
            if debug:
                raise
            sys.stderr.write("\n")
            code = INTERRUPTED
        except Exception as error:
            if debug:
                raise
            code = report(error)
    except BrokenPipeError:
        code = reader_left()
    sys.exit(code)


def asked_for_help(args: list[str]) -> list[str]:
    """`help`, `help COMMAND...` and `GROUP help` as the options that mean the same."""
    if args[:1] == ["help"]:
        return [*args[1:], "--help"]
    if len(args) == 2 and args[0] in GROUPS and args[1] == "help":
        return [args[0], "--help"]
    return args


def open_closed_streams() -> None:
    """Point each standard stream that is closed, as cron and `>&-` leave it, to /dev/null.

    Left closed, its number would be given to the next file or connection, and output written into that.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, os.O_RDWR)
        os.set_inheritable(opened, True)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        setattr(sys, name, os.fdopen(number, mode))


def reader_left() -> int:
    """The exit code of a process that SIGPIPE ended: the reader of our output (head, less) is gone.

    Nothing more can be said to it, not even what waits to be written.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    return READER_LEFT


def report(error: Exception) -> int:
    """Say in two lines what is wrong and what to do; the exit code."""
    from devctl import render
    from devctl.session import explain

    if isinstance(error, CommandError | ApiError | UnreachableError):
        failure = explain(error)
    else:
        failure = CommandError(
            f"devctl failed unexpectedly: {type(error).__name__}: {error}",
            "run it again with --debug and report what it prints",
            FAILURE,
        )
    render.say(render.paint("error:", "red", sys.stderr) + " " + render.clean(failure.what))
    render.say(render.paint("  try:", "cyan", sys.stderr) + " " + render.clean(failure.remedy))
    return failure.code


def prepare(args: list[str]) -> tuple[list[str], list[str] | None]:
    """Split off the words after the first `--`, and give a bare `--wait` its default of ten minutes.

    `--wait` takes an optional duration, which no option parser of ours can express; a duration begins with
    a digit and a server's name never does, so the next word decides.
    """
    command = next((word for word in args if word in COMMANDS), None)
    if command is not None and COMMANDS[command].raw:
        return args, None
    rest: list[str] | None = None
    if "--" in args:
        at = args.index("--")
        args, rest = args[:at], args[at + 1 :]
    found: list[str] = []
    words = iter(enumerate(args))
    for at, word in words:
        if word == "--wait":
            following = args[at + 1] if at + 1 < len(args) else ""
            if re.match(r"\d", following):
                next(words)
            else:
                following = "10m"
            word = f"--wait={following}"
        found.append(word)
    return found, rest


def start(args: list[str]) -> int:
    """Run one command line, the one that every ssh connection waits for on a short path."""
    broker = os.environ.get("DEVCTL_BROKER")
    if broker and args == ["credential"]:  # kubectl's log-in program; not for people
        from devctl.broker import exec_credential

        print(exec_credential(broker))
        return 0
    if not broker:
        from devctl import jump

        jump.through(args)
    if args[:1] in (["proxy"], ["ssh"]):
        from devctl import relay

        found = relay.quick(args)
        if found and args[0] == "ssh":
            from devctl import openssh

            return openssh.connect(*found)
        if found and not found[2]:
            return relay.proxy(*found[:2])
    return run(args)


def run(args: list[str]) -> int:
    """Run one command line in this process; raises CommandError, ApiError or UnreachableError."""
    args, rest = prepare(args)
    # rich would triple the time of every `--help`; plain text also reads well in a pipe.
    os.environ["TYPER_USE_RICH"] = "0"
    import typer
    from typer.core import TyperGroup
    from typer.exceptions import TyperException

    os.environ.pop("TYPER_USE_RICH")
    shared: dict[str, Any] = {"rest": rest}

    class Lazy(TyperGroup):
        """Imports the module of a command when that command is asked for."""

        def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - the context type of typer is private
            return list(COMMANDS)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
            if cmd_name in GROUPS:
                return group(cmd_name, shared)
            return load(cmd_name, shared) if cmd_name in COMMANDS else None

        def get_help(self, ctx: Any) -> str:  # noqa: ANN401
            return overview()

    app = typer.Typer(
        cls=Lazy,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def version(value: bool) -> None:
        if value:
            from devctl import __version__

            print(f"devctl {__version__}")
            raise typer.Exit()

    @app.callback()
    def common(
        context: str | None = typer.Option(None),
        kubeconfig: str | None = typer.Option(None),
        namespace: str | None = typer.Option(None, "--namespace", "-n"),
        user: str | None = typer.Option(None),
        debug: bool = typer.Option(False, "--debug"),
        version: bool = typer.Option(False, "--version", callback=version, is_eager=True),
    ) -> None:
        shared["flags"] = {"context": context, "kubeconfig": kubeconfig, "namespace": namespace, "user": user}

    try:
        if "_DEVCTL_COMPLETE" in os.environ:
            app(args, prog_name="devctl", standalone_mode=False)
        # Not app(): that takes a broken pipe for exit code 1, by timing.
        with typer.main.get_command(app).make_context("devctl", args) as ctx:
            code = ctx.command.invoke(ctx)
    except typer.Exit as end:
        return end.exit_code
    except TyperException as error:
        raise usage(error, args) from None
    except typer.Abort:
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def usage(error: Exception, args: list[str]) -> CommandError:
    """A wrong command line in two lines."""
    from difflib import get_close_matches

    text = str(getattr(error, "format_message", lambda: error)()).rstrip(".")
    command = next((word for word in args if word in COMMANDS), None)
    if command in GROUPS:
        words = args[args.index(command) :]
        command = next((" ".join(words[:n]) for n in (3, 2) if " ".join(words[:n]) in PARTS), command)
    remedy = f"`devctl {command} --help` explains it" if command else "`devctl --help` lists the commands"
    unknown = re.match(r"No such command '([^']*)'", text)
    if unknown is None:
        return CommandError(text, remedy, USAGE)
    word = unknown[1]
    if command in GROUPS and word not in args[: args.index(command)]:
        known = GROUPS[command]
        meant = {"rm": ["remove", "delete"], "ls": ["list"], "new": ["add"], "create": ["add"], "get": ["list", "show"]}
        near = [each for each in meant.get(word, []) if each in known] or get_close_matches(word, known, 1)
        guess = f"did you mean `devctl {command} {near[0]}`? " if near else ""
        return CommandError(f"devctl {command} has no {word!r}", f"{guess}it has: {', '.join(known)}", USAGE)
    lists = "`devctl --help` lists the commands"
    if word in INSTEAD:
        return CommandError(f"there is no command {word!r}", INSTEAD[word], USAGE)
    near = [MEANT[word]] if word in MEANT else get_close_matches(word, COMMANDS, 1)
    return CommandError(f"there is no command {word!r}", f"did you mean {near[0]}? {lists}" if near else lists, USAGE)


def load(name: str, shared: dict[str, Any]) -> Any:  # noqa: ANN401 - typer's command type is private
    """Build the typer command `name`; `shared` carries the flags before the name and the words after `--`."""
    from importlib import import_module

    import typer
    from typer.core import TyperCommand

    class Plain(TyperCommand):
        """Writes a required word as NAME in its usage line, where typer has {NAME}."""

        def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ANN401
            return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    entry = PARTS.get(name) or COMMANDS[name]
    function = getattr(import_module(f"devctl.{entry.module}"), re.sub("[- ]", "_", name) + "_command")
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    settings: dict[str, Any] = {"help_option_names": ["-h", "--help"]}
    if entry.raw:
        settings |= {"ignore_unknown_options": True, "allow_interspersed_args": False}
    # Six options that all commands share are no help where they stand below each of them.
    common = ", ".join(f"{short}/--{flag}" if short else f"--{flag}" for flag, (short, _) in COMMON.items())
    epilog = "" if not entry.needs_cluster else f"Also: {common}, --debug; `devctl --help` explains them."
    app.command(name.split()[-1], cls=Plain, context_settings=settings, epilog=epilog)(with_common(function, shared))
    return typer.main.get_command(app)


def group(prefix: str, shared: dict[str, Any]) -> Any:  # noqa: ANN401 - typer's command type is private
    """Build the commands that begin with `prefix`, one or two words."""
    import typer
    from typer.core import TyperGroup

    depth = len(prefix.split())
    names = list(dict.fromkeys(n.split()[depth] for n in PARTS if n.startswith(prefix + " ")))

    class Part(TyperGroup):
        """The commands below one word."""

        def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401
            return names

        def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
            if cmd_name not in names:
                return None
            whole = f"{prefix} {cmd_name}"
            return load(whole, shared) if whole in PARTS else group(whole, shared)

    settings = {"help_option_names": ["-h", "--help"]}
    summary = COMMANDS[prefix].summary if prefix in COMMANDS else ""
    app = typer.Typer(cls=Part, rich_markup_mode=None, add_completion=False, help=summary)
    app.callback(context_settings=settings)(lambda: None)
    built: Any = typer.main.get_command(app)
    built.name = prefix.split()[-1]
    return built


def name_value(parameter: inspect.Parameter) -> None:
    """Give a parameter the word in capitals that stands for its value in the help: NAME, not {name} or <str>."""
    from typing import get_args

    import typer

    types = get_args(parameter.annotation)
    info = next((each for each in types[1:] if hasattr(each, "metavar")), None)
    if info is None or info.metavar is not None:
        return
    if isinstance(info, typer.models.ArgumentInfo):
        info.metavar = parameter.name.upper() + ("..." if "list" in str(types[0]) else "")
    elif types[0] is not bool:
        info.metavar = "N" if "int" in str(types[0]) or "float" in str(types[0]) else parameter.name.upper()


def with_common(function: Callable[..., int | None], shared: dict[str, Any]) -> Callable[..., int | None]:
    """`function(session, ...)` as a function typer can read: its own parameters, then the common ones."""
    import inspect
    from typing import get_type_hints

    import typer

    from devctl.session import Session

    # commands name Session for type checkers only, so that reading them imports nothing
    hints = get_type_hints(function, localns={"Session": Session}, include_extras=True)
    _, *own = inspect.signature(function).parameters.values()
    own = [p.replace(annotation=hints[p.name]) for p in own]
    for parameter in own:
        name_value(parameter)
    common = [
        inspect.Parameter(
            flag,
            inspect.Parameter.KEYWORD_ONLY,
            default=typer.Option(None, f"--{flag}", *([short] if short else []), hidden=True, help=text),
            annotation=str | None,
        )
        for flag, (short, text) in COMMON.items()
    ]
    debug = inspect.Parameter(
        "debug",
        inspect.Parameter.KEYWORD_ONLY,
        default=typer.Option(False, "--debug", hidden=True, help="Show a traceback when something goes wrong."),
        annotation=bool,
    )

    def wrapper(**given: Any) -> int | None:  # noqa: ANN401 - typer hands over what the command declares
        given.pop("debug")
        flags: dict[str, str | None] = dict(shared.get("flags") or {})
        for flag in COMMON:
            flags[flag] = given.pop(flag) or flags.get(flag)
        session: Session = Session(flags, shared["rest"])
        return function(session, **given)

    wrapper.__signature__ = inspect.Signature([*own, *common, debug])  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in [*own, *common, debug]}
    wrapper.__doc__ = function.__doc__
    return wrapper
