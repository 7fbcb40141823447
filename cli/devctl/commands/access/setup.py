"""`devctl setup`: dotfiles, a script and secrets that each of a user's servers gets at its start."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devctl import validation
from devctl.options import Output, SecretFiles, SecretVariables, UnsetSecrets, Yes
from devctl.output import console, tables
from devctl.output.prompts import confirm
from devctl.resources import secret_references
from devctl.resources.people.server_secrets import warn_of_missing
from devctl.resources.people.user_setup import Setup, read_setup, write_setup
from devctl.validation import refusal
from devservers_core.errors import USAGE, CommandError
from devservers_core.grammar import GIT_BRANCH, GIT_BRANCH_MAX, GIT_URL, GIT_URL_MAX, fits
from devservers_core.names import (
    MAX_SETUP_SCRIPT_BYTES,
    SETUP_BRANCH,
    SETUP_DOTFILES,
    SETUP_LOG,
    SETUP_SCRIPT,
    SETUP_SECRETS,
)
from devservers_core.setup_secrets import format_lines

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json

NONE = "none"
"""What --dotfiles takes for no repository, not even the administrator's."""


def setup_set_command(
    context: Context,
    dotfiles: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Git repository to clone; 'none' for none, '' for your administrator's."),
    ] = None,
    branch: Annotated[str | None, typer.Option(help="Branch of the repository; its default one if not given.")] = None,
    script: Annotated[
        str | None, typer.Option(metavar="FILE", help="Script to run; - is standard input, '' is none.")
    ] = None,
    secret: SecretVariables = None,
    secret_file: SecretFiles = None,
    unset_secret: UnsetSecrets = None,
) -> None:
    """Set your dotfiles, your script or your secrets; servers have them from their next start.

    devctl setup set --dotfiles https://github.com/ann/dotfiles --script ~/setup.sh

    devctl setup set --secret HF_TOKEN=huggingface
    """
    references = validation.secret_references(secret or [], secret_file or [])
    removed = secret_references.check_removed(unset_secret or [], references)
    if dotfiles is None and branch is None and script is None and not references and not removed:
        remedy = "give --dotfiles URL, --branch BRANCH, --script FILE or --secret VAR=NAME"
        raise CommandError("nothing to set is given", remedy, USAGE)
    changes: dict[str, str | None] = {}
    if dotfiles is not None:
        # The branch is one of the former repository.
        changes |= {SETUP_DOTFILES: _repository(dotfiles), SETUP_BRANCH: None}
    if branch is not None:
        changes[SETUP_BRANCH] = _branch(branch)
    if script is not None:
        changes[SETUP_SCRIPT] = _script(context, script) if script else None
    now = read_setup(context)
    if references or removed:
        changes[SETUP_SECRETS] = _secrets(now, references, removed)
    if changes.get(SETUP_BRANCH) and not changes.get(SETUP_DOTFILES, now.own.get(SETUP_DOTFILES)):
        raise refusal("--branch is of a repository of yours", "give --dotfiles URL too")
    write_setup(context, changes)
    warn_of_missing(context, references, "each start of your servers waits")
    console.info(
        "your servers apply it from their next start (`devctl restart NAME`); `devctl describe NAME` shows the result, "
        f"and {SETUP_LOG} in the server the output"
        if changes.keys() - {SETUP_SECRETS}
        else "your servers have it from their next start (`devctl restart NAME`); `devctl setup show` shows all"
    )


def setup_show_command(context: Context, output: Output = None) -> None:
    """Show your dotfiles, your script and your secrets, and what your administrator gives you."""
    form = context.output(output)
    setup = read_setup(context)
    branch, script = setup.own.get(SETUP_BRANCH) or None, setup.own.get(SETUP_SCRIPT) or None
    theirs = setup.dotfiles is not None and SETUP_DOTFILES not in setup.own
    if form in ("json", "yaml"):
        entries = {
            "dotfiles": setup.dotfiles,
            "dotfilesFrom": None if setup.dotfiles is None else "administrator" if theirs else "user",
            "branch": branch,
            "script": script,
            "secrets": setup.secrets,
            "secretsFromAdministrator": setup.default_secrets,
        }
        console.echo(tables.to_json(entries) if form == "json" else tables.to_yaml(entries).rstrip())
        return
    if setup.dotfiles is None and script is None and not setup.secrets and not setup.default_secrets:
        console.info("you have no set-up; `devctl setup set --dotfiles URL` or `--script FILE` makes one")
        return
    text = setup.dotfiles or "none"
    if branch:
        text += f", branch {branch}"
    if theirs:
        text += " (from your administrator; `devctl setup set --dotfiles none` leaves it out)"
    console.echo(f"Dotfiles: {console.printable(text)}")
    for reference, giver in setup.all_secrets():
        console.echo(f"Secret:   {console.printable(secret_references.description(reference))}{giver}")
    if script is None:
        console.echo("Script:   none")
        return
    console.echo(f"Script:   {len(script.encode())} bytes")
    for line in script.splitlines():
        console.echo(f"  {console.printable(line)}")


def setup_clear_command(context: Context, yes: Yes = False) -> None:
    """Remove your dotfiles, your script and the secrets of all servers; what they did in your homes stays."""
    setup = read_setup(context)
    if not setup.own:
        console.info("you have no set-up; nothing was changed")
        return
    if SETUP_SCRIPT in setup.own and not yes:
        confirm("removing your script", "Your script is removed too. Go on?", "nothing was changed")
    write_setup(context, dict.fromkeys(setup.own))
    theirs = [f"dotfiles ({console.printable(setup.default)})"] if setup.default else []
    theirs += ["secrets"] if setup.default_secrets else []
    left = f"; your administrator's {' and '.join(theirs)} hold again" if theirs else ""
    console.info(f"your set-up is removed{left}")


def _secrets(now: Setup, references: list[Json], removed: tuple[str, ...]) -> str | None:
    """The entry with the references after a change. Raises CommandError for one that isn't there."""
    secret_references.refuse_absent("your set-up", now.secrets, removed, now.default_secrets)
    return format_lines(secret_references.changed(now.secrets, references, removed)) or None


def _repository(text: str) -> str | None:
    if text == NONE:
        return ""
    if not text:
        return None
    scheme, _, rest = text.partition("://")
    if scheme in ("https", "http") and "@" in rest.partition("/")[0]:
        # Not the text itself: it may have a token.
        raise refusal(
            "the URL of --dotfiles has a user or a token, which everybody who reads the set-up would see",
            "leave it out; for a private repository use git@HOST:PATH and a deploy key (`devctl secret set`)",
        )
    if not fits(text, GIT_URL, GIT_URL_MAX):
        raise refusal(
            f"--dotfiles {text[:80]!r} is not a git URL",
            "write it like https://github.com/ann/dotfiles or git@github.com:ann/dotfiles",
        )
    return text


def _branch(text: str) -> str | None:
    if text and not fits(text, GIT_BRANCH, GIT_BRANCH_MAX):
        raise refusal(
            f"--branch {text[:80]!r} is not a branch", "use letters, digits and . _ / -, a letter or digit first"
        )
    return text or None


def _script(context: Context, name: str) -> str:
    """Read a script from a file or standard input. Raises CommandError."""
    if name == "-":
        if sys.stdin.isatty():
            raise CommandError("standard input is a terminal", "send the script: --script - < FILE", USAGE)
        data = sys.stdin.buffer.read(MAX_SETUP_SCRIPT_BYTES + 1)
    elif context.broker:
        raise CommandError("the bastion has no file of yours", "send it: `devctl setup set --script - < FILE`", USAGE)
    else:
        path = Path(name).expanduser()
        try:
            with path.open("rb") as stream:
                data = stream.read(MAX_SETUP_SCRIPT_BYTES + 1)
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}", "give a file", USAGE) from None
    if len(data) > MAX_SETUP_SCRIPT_BYTES:
        raise refusal(
            f"the script has more than {MAX_SETUP_SCRIPT_BYTES // 1024} KiB",
            "put the rest into the repository of your dotfiles",
        )
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise refusal("the script is not a text in UTF-8", "give a shell script, or one with a #! line")
    if not text.strip():
        raise CommandError("the script is empty", "give a script, or --script '' to remove yours", USAGE)
    return text
