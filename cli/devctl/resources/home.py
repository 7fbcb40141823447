"""The volume claim of a server's home: size, age, deletion.

Invariant: read-only; what the user may not read is not checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from devctl.resources.replicas import replicas_of
from devservers_core import names
from devservers_core.errors import ApiError
from devservers_core.quantity import parse_quantity
from devservers_core.replicas import belongs_to, home_names, is_replica_home

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


def home_claim(context: Context, server: str, replicas: int | None = None) -> Json | None:
    """Read the claim of a server's home; {} when there is none, None when it can't be read.

    Of a distributed server, which has `replicas`, it is the first replica's.
    """
    from devservers_core.client.paths import core_path

    try:
        return context.kube.get(core_path(context.namespace, "persistentvolumeclaims", home_names(server, replicas)[0]))
    except ApiError as error:
        return {} if error.status == 404 else None


def kept_homes(context: Context, server: str, *, distributed: bool) -> list[Json]:
    """The claims that the operator made as homes of that server, or of its replicas if it is `distributed`.

    [] when they can't be read. A claim's name alone proves nothing.
    """
    from devservers_core.client.paths import core_path

    try:
        claims = context.kube.get(core_path(context.namespace, "persistentvolumeclaims")).get("items") or []
    except ApiError:
        return []
    return [claim for claim in claims if is_home(claim, server, distributed=distributed)]


def is_home(claim: Json, server: str, *, distributed: bool) -> bool:
    """Whether the operator made a claim as the server's home; its name alone proves nothing."""
    name = str(claim["metadata"]["name"])
    named = is_replica_home(name, server) if distributed else name == names.home_name(server)
    return named and belongs_to(claim, server)


def size(claim: Json) -> str | None:
    """A claim's size: its volume's capacity, or the request before there is a volume."""
    capacity = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
    return str(capacity) if capacity else requested(claim)


def requested(claim: Json) -> str | None:
    """The size that a claim requests."""
    request = (((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}).get("storage")
    return str(request) if request else None


def is_deleting(claim: Json) -> bool:
    """Whether a claim is being deleted."""
    return bool((claim.get("metadata") or {}).get("deletionTimestamp"))


def compare_sizes(size: str, other: str) -> int:
    """-1, 0 or 1 as the first size is less than, equal to or greater than the other."""
    first, second = parse_quantity(size), parse_quantity(other)
    return (first > second) - (first < second)


def size_for_new_server(claim: Json | None, requested_size: str, *, typed: bool) -> tuple[str, str | None]:
    """The size of a new server's home, and a warning if a home of its name is kept.

    A kept home has the size it has: only a larger one that was `typed`, and isn't a default or a setting, is asked for.
    """
    have = requested(claim) if claim and not is_deleting(claim) else None
    difference = compare_sizes(requested_size, have) if have else 0
    if claim is None or have is None or difference == 0:
        return requested_size, None
    name = claim["metadata"]["name"]
    if difference > 0 and typed:
        return (
            requested_size,
            f"the home {name} is kept and has {have}; it grows to {requested_size} if its storage class can",
        )
    if typed:
        return have, f"the home {name} is kept from before and has {have}, and can't be made smaller: it stays so"
    return have, None


def claims_of(server: Json) -> list[str]:
    """The claims that a server mounts when it runs, its own home last."""
    spec = server.get("spec") or {}
    mounted = [str(volume.get("claimName")) for volume in spec.get("volumes") or []]
    mounted += [str(spec["sharedVolumeClaimName"])] if spec.get("sharedVolumeClaimName") else []
    mounted += homes_of(server) if spec.get("persistentHomeSize") else []
    return list(dict.fromkeys(mounted))


def homes_of(server: Json) -> tuple[str, ...]:
    """The claims of a server's homes, one for each replica, whether or not there are any."""
    return home_names(server["metadata"]["name"], replicas_of(server))


def home_line(server: Json, claim: Json | None) -> str:
    """The line of `devctl describe` about the home; `claim` is what home_claim returned."""
    spec, homes = server.get("spec") or {}, homes_of(server)
    name = homes[0] if len(homes) == 1 else f"{homes[0]} (one for each replica)"
    requested_size = spec.get("persistentHomeSize")
    if requested_size:
        if claim is None:
            return f"{requested_size} asked for, on volume claim {name}"
        if not claim:
            return f"none yet: there is no volume claim {name}; the next start makes an empty one of {requested_size}"
        if is_deleting(claim):
            return f"{size(claim)} on volume claim {name}, BEING DELETED: lost when the server stops or restarts"
        return f"{size(claim)} on volume claim {name}, kept when stopped or deleted"
    for volume in spec.get("volumes") or []:
        if str(volume.get("mountPath", "")).rstrip("/") == names.HOME_PATH:
            return f"your volume claim {volume['claimName']}"
    return "not persistent: lost when the server stops"


def volumes_lost_by_stop(context: Context, server: Json) -> str | None:
    """Describe the volumes that stopping or restarting would lose; None when none.

    The claims are asked themselves: a status may not have it yet.
    """
    from devservers_core.client.paths import core_path

    try:
        items = context.kube.get(core_path(context.namespace, "persistentvolumeclaims")).get("items") or []
    except ApiError:
        return None
    claims = {str(name["metadata"]["name"]): name for name in items}
    homes = homes_of(server)
    lost = [name for name in claims_of(server) if name in claims and is_deleting(claims[name])]
    if not lost:
        return None
    listed = ", ".join(f"the home ({name})" if name in homes else name for name in lost)
    return (
        f"{listed} is being deleted, and goes with all files in it when the server stops; copy out what you need first"
    )


def keeps_home(server: Json) -> bool:
    """Whether the files of a server's home outlive its stop."""
    spec = server.get("spec") or {}
    mounts = (str(volume.get("mountPath", "")).rstrip("/") for volume in spec.get("volumes") or [])
    return bool(spec.get("persistentHomeSize")) or names.HOME_PATH in mounts


def lost_home(context: Context, server: Json) -> str | None:
    """Describe the home that a stopped server no longer has; None when it has it."""
    home = homes_of(server)[0]
    started_before = bool((server.get("status") or {}).get("timeline"))
    if not (server.get("spec") or {}).get("persistentHomeSize") or not started_before:
        return None
    return (
        f"its home {home} is gone: it starts with an empty one"
        if home_claim(context, server["metadata"]["name"], replicas_of(server)) == {}
        else None
    )
