"""The grace period of a server's pod."""

from __future__ import annotations

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.lifecycle import DEFAULT_GRACE, SPOT_GRACE
from devservers_core.duration import parse_duration
from devservers_core.names import ANNOTATION_CAPACITY

SPOT = "SPOT"
"""Value of ANNOTATION_CAPACITY on flavors whose machines are taken away at short notice."""


def grace_seconds(server: DevServer, flavor: DevServerFlavor) -> int:
    """Seconds between SIGTERM and the end; the person's hooks are in them."""
    spot = flavor.metadata.annotations.get(ANNOTATION_CAPACITY) == SPOT
    default = parse_duration(SPOT_GRACE if spot else DEFAULT_GRACE)
    asked = server.spec.lifecycle.grace_period
    grace = parse_duration(asked) if asked is not None else default
    return int((min(grace, default) if spot else grace).total_seconds())
