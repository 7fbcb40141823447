"""`devctl ssh-config`: prints, installs or removes SSH entries."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from devctl.config import HOST_SUFFIX
from devctl.output import console
from devctl.ssh import options
from devctl.ssh.bastion import endpoint
from devctl.ssh.config import (
    BEGIN,
    END,
    bastion_entries,
    entries,
    own_file,
    read_file,
    servers_with_ssh,
    user_file,
    without_block,
    write_private,
)
from devservers_core.errors import USAGE, CommandError

if TYPE_CHECKING:
    from devctl.context import Context


def ssh_config_command(
    context: Context,
    install: Annotated[
        bool, typer.Option("--install", help="Write the entries to a file of ours and include it in ~/.ssh/config.")
    ] = False,
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Undo --install.")] = False,
) -> None:
    """Print, or install, SSH entries, so that ssh, scp, sftp and editors reach servers by name.

    A server is NAME.devserver, and NAME as long as ~/.ssh/config has no such host. Once installed, `devctl create` and
    `devctl code` keep the entries up to date; after making servers from elsewhere run it again.
    """
    if context.broker and (install or uninstall):
        raise CommandError(
            "the bastion has no file of yours to write",
            "`devctl ssh-config` prints what your machine needs",
            USAGE,
        )
    if install and uninstall:
        raise CommandError("--install and --uninstall contradict each other", "give one of them", USAGE)
    if context.broker:
        _from_the_bastion(context)
        return
    own_path, user_path = own_file(context.config), user_file(context.config)
    include = f"{BEGIN}\nInclude {options.quoted(str(own_path))}\n{END}\n"
    try:
        if uninstall:
            write_private(user_path, without_block(read_file(user_path)))
            own_path.unlink(missing_ok=True)
            console.info(f"removed from {user_path}")
            return
        text = entries(context)
        if not install:
            sys.stdout.write(text)
            return
        own_path.parent.mkdir(parents=True, exist_ok=True)
        write_private(own_path, text)
        user_path.parent.mkdir(mode=0o700, exist_ok=True)
        # First in the file: an Include below a Host line would belong to that Host only.
        before = read_file(user_path)
        if not before.startswith(include):
            write_private(user_path, include + without_block(before))
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}", "make it writable, or use the printed text") from None
    console.info(f"wrote {own_path}, included in {user_path}")
    console.info(f"ssh, scp, sftp and editors now reach every server as NAME or NAME{HOST_SUFFIX}")


def _from_the_bastion(context: Context) -> None:
    """Print what a machine without devctl needs, for `ssh USER@bastion devctl ssh-config`."""
    from devctl.resources.people import account_keys

    account_keys.print_expiry_warnings(context)
    bastion = endpoint.bastion_of_this_process(context)
    console.echo(f"# 1. This line into {endpoint.PORTABLE_KNOWN_HOSTS}, which no other program writes:")
    console.echo(f"#    {bastion.authority_line()}".rstrip())
    console.echo(
        "# 2. What follows into ~/.ssh/devserver_config, and `Include devserver_config` first in ~/.ssh/config."
    )
    console.echo("#    Again after making a server.")
    # Not the short names: which other hosts a person has can't be seen from here.
    sys.stdout.write(bastion_entries(bastion, {name: name + HOST_SUFFIX for name in servers_with_ssh(context)}))
