"""A flavor with limits, and what `devserver status` prints, for tests of how servers end on a real node."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from devservers.api.lifecycle import WEEKDAYS
from devservers_core.duration import parse_duration
from devservers_core.types import Json
from tests.support.node.person import Person, Platform
from tests.support.node.queueing import apply

MAX_EXTENSION = "1h"
MAX_HOLD = "2h"
_STOP = re.compile(r"^stop +(?:stops|is deleted) in (\S+): ", re.MULTILINE)


ZONE = "Asia/Kathmandu"
"""Five hours and 45 minutes east of UTC: a time of day that is taken for UTC's shows in every test."""


@contextmanager
def limited_flavor(platform: Platform, name: str) -> Iterator[str]:
    """A small flavor with limits on extensions and holds, until the block ends."""
    apply(platform, flavor(name))
    try:
        yield name
    finally:
        platform.cluster.kubectl("delete", "devserverflavor", name, "--ignore-not-found")


def flavor(name: str, **spec: Json) -> Json:
    """A small flavor with limits on extensions and holds, and `spec`."""
    limits = {"cpu": "1", "memory": "512Mi"}
    return {
        "apiVersion": "devservers.io/v1",
        "kind": "DevServerFlavor",
        "metadata": {"name": name},
        "spec": {
            "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": limits},
            "shmSize": "64Mi",
            "lifecycle": {"maxExtension": MAX_EXTENSION, "maxHold": MAX_HOLD},
            **spec,
        },
    }


def working_hours(idle_timeout: timedelta) -> tuple[datetime, Json]:
    """Working hours that end at a whole minute, one to two minutes from now, and that end."""
    end = (datetime.now(UTC) + timedelta(minutes=2)).replace(second=0, microsecond=0)
    local = end.astimezone(ZoneInfo(ZONE))
    hours = {"stopAt": f"{local:%H:%M}", "timeZone": ZONE, "days": [WEEKDAYS[local.weekday()]]}
    return end, {**hours, "idleTimeout": f"{int(idle_timeout.total_seconds())}s"}


def time_left(status: str) -> timedelta | None:
    """The time to the planned stop in the output of `devserver status`, None where it shows none."""
    match = _STOP.search(status)
    return parse_duration(match[1]) if match else None


def shows_end(person: Person, server: str, left: timedelta) -> bool:
    """Whether `devserver status` in the server shows a stop in `left`; it rounds up to whole minutes."""
    shown = time_left(person.ssh(server, "devserver status").stdout)
    return shown is not None and abs(shown - left) <= timedelta(seconds=90)
