"""A user's set-up: the ConfigMaps that hold it, and their mount in a server's pod.

The user writes one ConfigMap, the operator the other with the administrator's default. The pod has one folder of both.
"""

from __future__ import annotations

from devservers.api.user import DevServerUser
from devservers_core.grammar import GIT_URL, GIT_URL_MAX, fits
from devservers_core.names import (
    SETUP,
    SETUP_DEFAULT,
    SETUP_DOTFILES,
    SETUP_PATH,
    SETUP_SECRETS,
)
from devservers_core.setup_secrets import format_lines
from devservers_core.types import Json

from .manifest import user_child

_VOLUME = "setup"


def config_maps(user: DevServerUser) -> list[Json]:
    """The ConfigMaps of a user's set-up; the data of the user's own is theirs, so none is set here."""
    url = user.spec.dotfiles
    default = {SETUP_DOTFILES: url} if url is not None and fits(url, GIT_URL, GIT_URL_MAX) else {}
    if user.spec.secrets:
        # For devctl: people can't read their DevServerUser.
        default[SETUP_SECRETS] = format_lines(reference.to_dict() for reference in user.spec.secrets)
    data = {"data": default} if default else {}
    return [user_child(user, "v1", "ConfigMap", SETUP), user_child(user, "v1", "ConfigMap", SETUP_DEFAULT, data)]


def volume() -> Json:
    """The volume with the files of the set-up.

    Without `items`, sources may have the same file: the kubelet takes it from the last one that has it
    (kubernetes/kubernetes, pkg/volume/projected).
    """
    sources = [{"configMap": {"name": name, "optional": True}} for name in (SETUP_DEFAULT, SETUP)]
    return {"name": _VOLUME, "projected": {"defaultMode": 0o444, "sources": sources}}


def mount() -> Json:
    """The mount of that volume."""
    return {"name": _VOLUME, "mountPath": SETUP_PATH, "readOnly": True}
