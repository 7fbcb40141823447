"""Checks a new or larger volume against the limits of the user's volumes.

Invariant: read-only; a limit that can't be read is left to the API server. Kept homes of deleted servers count like all
others, so a refusal lists them by size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from devctl import validation
from devctl.output.errors import quota_label
from devctl.resources.home import requested
from devservers_core import names
from devservers_core.errors import ApiError, CommandError
from devservers_core.quantity import parse_quantity
from devservers_core.replicas import home_names

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


_MAX_LISTED = 8
_STORAGE = "requests.storage"
_CLASS = "storageclass.storage.k8s.io"


def check_home_quota(context: Context, server: str, size: str, replicas: int | None = None) -> None:
    """Raise CommandError when a home of ``size`` exceeds the quota or a volume's limit, or one for each replica."""
    limits = _read_limits(context)
    if limits is None:
        return
    claims, ranges, quotas = limits
    sizes = [_existing_size(claims, name) for name in home_names(server, replicas)]
    added = sum((max(Decimal(0), parse_quantity(size) - existing) for existing in sizes), Decimal(0))
    if not added:
        return
    _check_largest(ranges, size, f"a home of {size}", "--home-size")
    homes = f"a home of {size} does" if replicas is None else f"{replicas} homes of {size} do"
    for quota in quotas:
        entry = (quota["metadata"].get("annotations") or {}).get(names.ANNOTATION_HOME_QUOTA, "")
        if taken := _exceeded(quota, entry, added):
            raise validation.refusal(
                f"{homes} not fit: {taken[0]} of the {taken[1]} that your volumes may have are taken",
                f"`devctl delete NAME --purge` deletes a home ({_list_claims(context, claims)}), --home-size takes"
                " less, or ask an administrator for more",
            )


def check_volume_quota(context: Context, name: str, size: str, storage_class: str | None) -> None:
    """Raise CommandError when the volume ``name`` with ``size`` exceeds the quota or a volume's limit.

    A volume that exists counts with what it grows by. ``storage_class`` is None when it isn't known.
    """
    limits = _read_limits(context)
    if limits is None:
        return
    claims, ranges, quotas = limits
    _check_largest(ranges, size, f"a volume of {size}", "--size")
    added = parse_quantity(size) - _existing_size(claims, name)
    counts = {_STORAGE: added}
    if storage_class is not None:
        counts[f"{storage_class}.{_CLASS}/{_STORAGE}"] = added
    if all(claim["metadata"]["name"] != name for claim in claims):
        counts["persistentvolumeclaims"] = Decimal(1)
    # The limit of one class is the narrower one: it says more than the sum.
    for quota in quotas:
        for entry in sorted(counts, key=lambda entry: _CLASS not in entry):
            if taken := _exceeded(quota, entry, counts[entry]):
                in_class = _of_class(storage_class) if _CLASS in entry else _any
                raise validation.refusal(
                    f"{name} with {size} does not fit: {taken[0]} of {taken[1]} are taken ({quota_label(entry)})",
                    f"delete what you don't need ({_list_claims(context, claims, in_class)}), take a smaller size, or "
                    "ask an administrator for more",
                )


def _read_limits(context: Context) -> tuple[list[Json], list[Json], list[Json]] | None:
    """The namespace's claims, LimitRanges and ResourceQuotas; None when one of them can't be read."""
    from devservers_core.client.paths import core_path

    try:
        claims, ranges, quotas = (
            list(context.kube.get(core_path(context.namespace, resource)).get("items") or [])
            for resource in ("persistentvolumeclaims", "limitranges", "resourcequotas")
        )
    except ApiError:
        return None
    return claims, ranges, quotas


def _existing_size(claims: Sequence[Json], name: str) -> Decimal:
    return next((_size(claim) for claim in claims if claim["metadata"]["name"] == name), Decimal(0))


def _check_largest(ranges: Sequence[Json], size: str, what: str, flag: str) -> None:
    for most in _largest(ranges):
        if parse_quantity(size) > parse_quantity(most):
            raise validation.refusal(
                f"{what} is too large: a volume may have {most} at most",
                f"take less ({flag} {most}), or ask an administrator",
            )


def _exceeded(quota: Json, entry: str, added: Decimal) -> tuple[str, str] | None:
    """What is used and what is allowed of a quota's entry, when ``added`` doesn't fit."""
    status = quota.get("status") or {}
    hard, used = (status.get("hard") or {}).get(entry), (status.get("used") or {}).get(entry)
    if hard is None or used is None or parse_quantity(str(used)) + added <= parse_quantity(str(hard)):
        return None
    return str(used), str(hard)


def _any(_: Json) -> bool:
    return True


def _of_class(storage_class: str | None) -> Callable[[Json], bool]:
    return lambda claim: (claim.get("spec") or {}).get("storageClassName") == storage_class


def _list_claims(context: Context, claims: Sequence[Json], counts: Callable[[Json], bool] = _any) -> str:
    """List volumes by size, largest first, with a mark on homes that no server has."""
    try:
        servers = {server["metadata"]["name"] for server in context.servers(context.namespace)}
    except CommandError:
        servers = set()
    lines = []
    for claim in sorted(filter(counts, claims), key=_size, reverse=True):
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
