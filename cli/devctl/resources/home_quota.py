"""Checks a new home against the limits of the user's volumes.

Invariant: read-only; a limit that can't be read is left to the API server. Kept homes of deleted servers count like all
others, so a refusal lists them by size.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from devctl import validation
from devctl.resources.home import requested
from devservers_core import names
from devservers_core.errors import ApiError, CommandError
from devservers_core.quantity import parse_quantity

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


_MAX_LISTED = 8


def check_home_quota(context: Context, server: str, size: str) -> None:
    """Raise CommandError when a home of ``size`` exceeds the quota or a volume's limit."""
    from devservers_core.client.paths import core_path

    try:
        claims = list(context.kube.get(core_path(context.namespace, "persistentvolumeclaims")).get("items") or [])
        limits = list(context.kube.get(core_path(context.namespace, "limitranges")).get("items") or [])
        quotas = list(context.kube.get(core_path(context.namespace, "resourcequotas")).get("items") or [])
    except ApiError:
        return
    requested_size = parse_quantity(size)
    existing_size = next(
        (_size(claim) for claim in claims if claim["metadata"]["name"] == names.home_name(server)), Decimal(0)
    )
    if requested_size <= existing_size:
        return
    for most in _largest(limits):
        if requested_size > parse_quantity(most):
            raise validation.refusal(
                f"a home of {size} is too large: a volume may have {most} at most",
                f"take less (--home-size {most}), or ask an administrator",
            )
    for quota in quotas:
        entry = (quota["metadata"].get("annotations") or {}).get(names.ANNOTATION_HOME_QUOTA, "")
        status = quota.get("status") or {}
        hard, used = (status.get("hard") or {}).get(entry), (status.get("used") or {}).get(entry)
        if (
            hard is not None
            and used is not None
            and parse_quantity(used) + requested_size - existing_size > parse_quantity(hard)
        ):
            raise validation.refusal(
                f"a home of {size} does not fit: {used} of the {hard} that your volumes may have are taken",
                f"`devctl delete NAME --purge` deletes a home ({_homes(context, claims)}), --home-size takes less,"
                " or ask an administrator for more",
            )


def _homes(context: Context, claims: Sequence[Json]) -> str:
    """List volumes by size, largest first, with a mark on homes that no server has."""
    try:
        servers = {server["metadata"]["name"] for server in context.servers(context.namespace)}
    except CommandError:
        servers = set()
    lines = []
    for claim in sorted(claims, key=_size, reverse=True):
        owner = (claim["metadata"].get("annotations") or {}).get(names.ANNOTATION_HOME_OF)
        mark = " (kept)" if owner and owner not in servers else ""
        lines.append(f"{claim['metadata']['name']} {requested(claim) or '0'}{mark}")
    return ", ".join(lines[:_MAX_LISTED]) + (
        f" and {len(lines) - _MAX_LISTED} more" if len(lines) > _MAX_LISTED else ""
    )


def _largest(limits: Sequence[Json]) -> list[str]:
    """The largest sizes that LimitRanges allow for one volume claim."""
    items = [item for limit in limits for item in (limit.get("spec") or {}).get("limits") or []]
    return [
        str(item["max"]["storage"])
        for item in items
        if item.get("type") == "PersistentVolumeClaim" and "storage" in (item.get("max") or {})
    ]


def _size(claim: Json) -> Decimal:
    return parse_quantity(requested(claim) or "0")
