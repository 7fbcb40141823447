"""The index of a user's secrets: a ConfigMap with names, keys and times, which its user reads.

Invariant: it comes from the metadata of the Secrets alone. Their keys are in managedFields, by which the API server
says who set which field; their values are nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from devservers.api.user import DevServerUser
from devservers_core.grammar import SECRET_KEY, SECRET_KEY_MAX, SECRET_NAME, SECRET_NAME_MAX, fits
from devservers_core.names import USER_SECRET_PREFIX, USER_SECRETS
from devservers_core.types import Json

from .manifest import user_child

MAX_KEYS = 16
"""Of one secret in the index; `devctl secret set` has no use for so many."""
_KEY_FIELD = "f:"


def entry(metadata: Json) -> str | None:
    """The entry of a Secret with this metadata; None for a name that no server can refer to."""
    name = str(metadata.get("name") or "")
    if not name.startswith(USER_SECRET_PREFIX) or not fits(
        name.removeprefix(USER_SECRET_PREFIX), SECRET_NAME, SECRET_NAME_MAX
    ):
        return None
    keys: set[str] = set()
    since = str(metadata.get("creationTimestamp") or "")
    for manager in metadata.get("managedFields") or ():
        fields = (manager.get("fieldsV1") or {}).get("f:data") or {}
        found = {field.removeprefix(_KEY_FIELD) for field in fields if field.startswith(_KEY_FIELD)}
        keys |= {key for key in found if fits(key, SECRET_KEY, SECRET_KEY_MAX)}
        if found:
            # All times are of one form, so that the later one is the greater text.
            since = max(since, str(manager.get("time") or ""))
    # With the version of what is listed here, devctl replaces exactly that and nothing that was written since.
    version = str(metadata.get("resourceVersion") or "")
    return json.dumps({"keys": sorted(keys)[:MAX_KEYS], "since": since, "version": version}, separators=(",", ":"))


def config_map(user: DevServerUser, entries: Mapping[str, str]) -> Json:
    """The ConfigMap with the entries by the Secrets' names."""
    data = {"data": dict(sorted(entries.items()))} if entries else {}
    return user_child(user, "v1", "ConfigMap", USER_SECRETS, data)


def foreign_entries(live: Json, entries: Mapping[str, str]) -> list[str]:
    """The entries of a stored index that it should not have: of an earlier version, whose users wrote it."""
    return sorted(set(live.get("data") or {}) - set(entries))
