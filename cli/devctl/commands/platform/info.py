"""`devctl info`: the settings in force and where each comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devctl import __version__
from devctl.config import KEYS
from devctl.options import DocumentOutput
from devctl.output import console, tables
from devservers_core import names
from devservers_core.errors import CommandError

if TYPE_CHECKING:
    from devctl.context import Context


def info_command(context: Context, output: DocumentOutput = None) -> None:
    """Show the settings in force and where each of them comes from."""
    form = context.output(output)
    config = context.config
    settings: dict[str, tuple[str, str]] = {}
    for key in KEYS:
        setting = config.setting(key)
        settings[key] = (setting.value, setting.source) if setting else ("", "")
    try:
        server = _describe_server(context, settings)
    except CommandError as failure:
        server = f"none: {failure.what}"
    settings["image"] = settings["image"] if settings["image"][0] else ("the platform's own", "default")
    if not settings["identityFile"][0]:
        settings["identityFile"] = ("your agent and ~/.ssh", "default")
    if form in ("json", "yaml"):
        document = {
            "version": __version__,
            "configFile": str(config.path),
            "server": server,
            "settings": {k: {"value": v, "source": s} for k, (v, s) in settings.items()},
        }
        console.echo(tables.to_json(document) if form == "json" else tables.to_yaml(document).rstrip())
        return
    present = "" if config.path.exists() else " (does not exist)"
    console.echo(f"devctl {__version__}")
    console.echo(f"config file: {config.path}{present}")
    console.echo(f"API server:  {server}")
    console.echo("")
    tables.table(["SETTING", "VALUE", "FROM"], [[key, value, source] for key, (value, source) in settings.items()])


def _describe_server(context: Context, settings: dict[str, tuple[str, str]]) -> str:
    """Name the API server, or the bastion that commands run on.

    Adds the settings that follow from it to `settings`.
    """
    from devctl.ssh.bastion import endpoint

    bastion = endpoint.configured(context.config)
    if bastion is None:
        target = context.target
        settings["kubeconfig"] = (target.source, settings["kubeconfig"][1] or "default")
        settings["context"] = (target.context, settings["context"][1] or "current context")
        settings["user"], server = context.user_setting, target.server
    else:
        settings["user"] = (bastion.user, settings["user"][1] or "$USER")
        server = f"commands run on the bastion {bastion.host}:{bastion.port}, as {bastion.user}"
    namespace = context.config.get("namespace") or names.namespace_of(settings["user"][0])
    settings["namespace"] = (namespace, settings["namespace"][1] or "dev-USER")
    return server
