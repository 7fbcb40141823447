"""Times of the API as people read them: ages, and how long until."""

from __future__ import annotations

from datetime import UTC, datetime

from devservers_core.times import within_range


def parse_time(text: str | None) -> datetime | None:
    """Parse an RFC 3339 time, the nearest that people may write; None when it is missing or can't be parsed."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return within_range(time if time.tzinfo else time.replace(tzinfo=UTC))


def duration(seconds: float) -> str:
    """A length of time in at most two units: `45s`, `3m20s`, `5h10m`, `12d`."""
    total = int(max(seconds, 0))
    if total < 120:
        return f"{total}s"
    if total < 3600:
        return f"{total // 60}m{total % 60:02d}s" if total < 600 else f"{total // 60}m"
    if total < 86400:
        return f"{total // 3600}h{total % 3600 // 60:02d}m"
    return f"{total // 86400}d{total % 86400 // 3600}h" if total < 864000 else f"{total // 86400}d"


def age(text: str | None, now: datetime | None = None) -> str:
    """The time since an RFC 3339 time."""
    time = parse_time(text)
    return duration(((now or datetime.now(UTC)) - time).total_seconds()) if time else "-"


def until(text: str | None, now: datetime | None = None) -> str:
    """The time until an RFC 3339 time."""
    time = parse_time(text)
    return duration((time - (now or datetime.now(UTC))).total_seconds()) if time else "-"


def now() -> str:
    """The current time in the API's format: RFC 3339, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
