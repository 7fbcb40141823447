"""The range of times that people may write.

Invariant: a time in the range can be shown in every zone, and moved by any duration, without an overflow.
"""

from __future__ import annotations

from datetime import UTC, datetime

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def within_range(moment: datetime) -> datetime:
    """The time nearest to `moment`, which has a zone, between EARLIEST and LATEST."""
    return min(max(moment, EARLIEST), LATEST)
