"""The instructions that a new user is sent. There is no secret in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devctl import __version__
from devservers_core import names
from devservers_core.errors import ApiError

if TYPE_CHECKING:
    from devctl.context import Context


def instructions(context: Context, name: str) -> str:
    """What a new user is sent: where to log in, and the settings of a laptop."""
    config = context.config
    address = config.get("bastion") or _bastion_setting(context, names.BASTION_SETTINGS, "address") or "BASTION-ADDRESS"
    host, _, port = address.partition(":")
    login = f"ssh {f'-p {port} ' if port else ''}{name}@{host}"
    settings = [f"user: {name}", f"bastion: {address}"]
    authority = config.get("hostAuthority") or " ".join(
        _bastion_setting(context, names.BASTION_INFO, names.HOST_CA_ENTRY).split()[:2]
    )
    if authority:
        settings.append(f"hostAuthority: {authority}")
    lines = [
        f"You are {name} on the development servers. Log in with the key you gave:",
        f"    {login}",
        "That is a prompt for devctl: `create mydev --wait`, then `ssh mydev`. `help` says more.",
    ]
    if authority:
        host_pattern = f"[{host}]:{port}" if port else host
        lines += [
            "So that ssh knows it is talking to the right machine, put this line into ~/.ssh/known_hosts first:",
            f"    @cert-authority {host_pattern},*.{names.namespace_of(name)}.{names.SERVICE_DOMAIN} {authority}",
        ]
    lines += [
        f"For ssh, scp and editors from your own machine install devctl {__version__}, as the platform's guide",
        "docs/guides/install-devctl.md says. Put this into ~/.config/devctl/config.yaml",
        *(f"    {line}" for line in settings),
        "then `devctl ssh-config --install`; servers are then `ssh NAME`, also for scp, VS Code and others.",
    ]
    return "\n".join(lines)


def _bastion_setting(context: Context, name: str, key: str) -> str:
    """Read an entry of the bastion's ConfigMap; "" when it is missing or not readable."""
    from devservers_core.client.paths import core_path

    try:
        return str(
            (context.kube.get(core_path(names.BASTION_NAMESPACE, "configmaps", name)).get("data") or {}).get(key, "")
        )
    except ApiError:
        return ""
