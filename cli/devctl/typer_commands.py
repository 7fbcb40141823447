"""Builds the typer application from the table of commands.

Invariant: only the module of the command asked for is imported, and `devctl --help` imports no command at all:
the summaries stand in devctl.command_table.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from devctl.command_line import CommandLine, explain_usage
from devctl.command_table import COMMANDS, COMMON_OPTIONS, GROUPS, SUBCOMMANDS, SUBGROUPS, overview, subcommands
from devservers_core.errors import INTERRUPTED

if TYPE_CHECKING:
    import inspect

    from devctl.context import Context


WITHOUT_STOP_NOTICE = frozenset({"stop", "start", "delete", "extend", "hold", "release", "proxy", "describe"})
"""Commands that don't warn of a server that stops soon: they change it, show it, or speak to a program."""


def run(line: CommandLine) -> int:
    """Run one command line in this process; raises CommandError, ApiError or UnreachableError."""
    # rich would triple the time of every `--help`; plain text also reads well in a pipe.
    os.environ["TYPER_USE_RICH"] = "0"
    import typer
    from typer.core import TyperGroup
    from typer.exceptions import TyperException

    os.environ.pop("TYPER_USE_RICH")
    shared: dict[str, Any] = {"rest": list(line.rest) if line.rest is not None else None}

    class RootGroup(TyperGroup):
        """The root group, which imports the module of a command when it is asked for."""

        def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - the context type of typer is private
            return list(COMMANDS)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
            if cmd_name in GROUPS:
                return group(cmd_name, shared)
            return load(cmd_name, shared) if cmd_name in COMMANDS else None

        def get_help(self, ctx: Any) -> str:  # noqa: ANN401
            return overview()

    app = typer.Typer(
        cls=RootGroup,
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
        arguments = list(line.for_typer)
        if "_DEVCTL_COMPLETE" in os.environ:
            app(arguments, prog_name="devctl", standalone_mode=False)
        # Not app(): that takes a broken pipe for exit code 1, by timing.
        with typer.main.get_command(app).make_context("devctl", arguments) as ctx:
            code = ctx.command.invoke(ctx)
    except typer.Exit as end:
        return end.exit_code
    except TyperException as error:
        raise explain_usage(error, line) from None
    except typer.Abort:
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def load(name: str, shared: dict[str, Any]) -> Any:  # noqa: ANN401 - typer's command type is private
    """Build the typer command `name`; `shared` carries the flags before the name and the words after `--`."""
    from importlib import import_module

    import typer
    from typer.core import TyperCommand

    class PlainUsageCommand(TyperCommand):
        """A command whose usage line has NAME, where typer has {NAME}."""

        def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ANN401
            return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    entry = SUBCOMMANDS.get(name) or COMMANDS[name]
    function = getattr(import_module(f"devctl.commands.{entry.module}"), re.sub("[- ]", "_", name) + "_command")
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    settings: dict[str, Any] = {"help_option_names": ["-h", "--help"]}
    if entry.raw:
        settings |= {"ignore_unknown_options": True, "allow_interspersed_args": False}
    # Six options that all commands share are no help where they stand below each of them.
    common = ", ".join(f"{short}/--{flag}" if short else f"--{flag}" for flag, (short, _) in COMMON_OPTIONS.items())
    epilog = "" if not entry.needs_cluster else f"Also: {common}, --debug; `devctl --help` explains them."
    app.command(name.split()[-1], cls=PlainUsageCommand, context_settings=settings, epilog=epilog)(
        with_common(function, shared, says_stop=name not in WITHOUT_STOP_NOTICE)
    )
    return typer.main.get_command(app)


def group(prefix: str, shared: dict[str, Any]) -> Any:  # noqa: ANN401 - typer's command type is private
    """Build the commands that begin with `prefix`, one or two words."""
    import typer
    from typer.core import TyperGroup

    names = subcommands(prefix)

    class SubcommandGroup(TyperGroup):
        """A group of subcommands."""

        def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401
            return names

        def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
            if cmd_name not in names:
                return None
            whole = f"{prefix} {cmd_name}"
            return load(whole, shared) if whole in SUBCOMMANDS else group(whole, shared)

    settings = {"help_option_names": ["-h", "--help"]}
    summary = COMMANDS[prefix].summary if prefix in COMMANDS else SUBGROUPS[prefix]
    app = typer.Typer(cls=SubcommandGroup, rich_markup_mode=None, add_completion=False, help=summary)
    app.callback(context_settings=settings)(lambda: None)
    built: Any = typer.main.get_command(app)
    built.name = prefix.split()[-1]
    return built


def set_metavar(parameter: inspect.Parameter) -> None:
    """Set a parameter's metavar: NAME, where typer prints {name} or <str>."""
    from typing import get_args

    import typer

    types = get_args(parameter.annotation)
    info = next((metadata for metadata in types[1:] if hasattr(metadata, "metavar")), None)
    if info is None or info.metavar is not None:
        return
    if isinstance(info, typer.models.ArgumentInfo):
        info.metavar = parameter.name.upper() + ("..." if "list" in str(types[0]) else "")
    elif types[0] is not bool:
        info.metavar = "N" if "int" in str(types[0]) or "float" in str(types[0]) else parameter.name.upper()


def with_common(
    function: Callable[..., int | None], shared: dict[str, Any], *, says_stop: bool = False
) -> Callable[..., int | None]:
    """Wrap `function(context, ...)` for typer: its own parameters, then the common ones.

    With `says_stop` the command warns of a server that stops soon.
    """
    import inspect
    from typing import get_type_hints

    import typer

    from devctl.context import Context

    # commands name Context for type checkers only, so that reading them imports nothing
    hints = get_type_hints(function, localns={"Context": Context}, include_extras=True)
    _, *own = inspect.signature(function).parameters.values()
    own = [p.replace(annotation=hints[p.name]) for p in own]
    for parameter in own:
        set_metavar(parameter)
    common = [
        inspect.Parameter(
            flag,
            inspect.Parameter.KEYWORD_ONLY,
            default=typer.Option(None, f"--{flag}", *([short] if short else []), hidden=True, help=text),
            annotation=str | None,
        )
        for flag, (short, text) in COMMON_OPTIONS.items()
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
        for flag in COMMON_OPTIONS:
            flags[flag] = given.pop(flag) or flags.get(flag)
        context: Context = Context(flags, shared["rest"])
        if says_stop:
            from devctl.resources.lifecycle.planned import StopNotice

            context.on_server = StopNotice()
        return function(context, **given)

    wrapper.__signature__ = inspect.Signature([*own, *common, debug])  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in [*own, *common, debug]}
    wrapper.__doc__ = function.__doc__
    return wrapper
