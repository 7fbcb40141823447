"""The time zone of a time of day that a user gives."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import TYPE_CHECKING

from devservers_core import names
from devservers_core.errors import ApiError

if TYPE_CHECKING:
    from devctl.context import Context


def time_zone(context: Context) -> tzinfo | None:
    """The zone in which a time of day counts; None for this machine's own.

    At the bastion it is the user's, which stands on their namespace; UTC without one.
    """
    if not context.broker:
        return None
    try:
        annotations = context.kube.get(f"/api/v1/namespaces/{context.namespace}")["metadata"].get("annotations") or {}
    except ApiError:
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(str(annotations.get(names.ANNOTATION_TIME_ZONE) or "UTC"))
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
