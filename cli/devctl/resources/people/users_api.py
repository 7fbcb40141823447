"""Changes DevServerUsers over the API, for administrators and the bastion's broker.

Invariant: keys are written against the version they were read at, so of two changes at once none is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from devctl.resources.people import user_ssh_keys
from devservers_core.client.paths import user_path
from devservers_core.errors import USAGE, ApiError, CommandError
from devservers_core.types import Json

if TYPE_CHECKING:
    from devservers_core.client.api import ApiClient


MAX_ATTEMPTS = 4


def change_keys(kube: ApiClient, name: str, request: Mapping[str, Any]) -> None:
    """Add or remove a key: {"add": {name, key, expires}} or {"remove": WHICH}.

    Raises CommandError, ApiError.
    """
    for attempt in range(MAX_ATTEMPTS):
        user = kube.get(user_path(name))
        patch = keys_patch(user.get("spec") or {}, request, datetime.now(UTC))
        body = {"metadata": {"resourceVersion": user["metadata"]["resourceVersion"]}, "spec": patch}
        try:
            kube.patch(user_path(name), body)
            return
        except ApiError as error:
            if error.status != 409 or attempt == MAX_ATTEMPTS - 1:
                raise


def keys_patch(spec: Json, request: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The patch of spec for a request. Raises CommandError."""
    if isinstance(add := request.get("add"), dict):
        name, key, expires = add.get("name"), add.get("key"), add.get("expires")
        if isinstance(name, str) and isinstance(key, str) and (expires is None or isinstance(expires, str)):
            return user_ssh_keys.add_key_patch(spec, name, key, expires, now)
    elif isinstance(which := request.get("remove"), str):
        return user_ssh_keys.remove_key_patch(spec, which, now)
    raise CommandError("this is no change of keys", "`devctl keys --help`", USAGE)
