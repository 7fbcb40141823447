"""Reads and writes times: aware UTC inside, RFC 3339 with whole seconds outside."""

from __future__ import annotations

from datetime import UTC, datetime


def parse_time(text: object) -> datetime | None:
    """An RFC 3339 time with its zone, or None: people write annotations too."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def format_time(moment: datetime) -> str:
    """`2026-11-21T12:00:00Z`; a part of a second is cut off."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def whole_seconds(moment: datetime) -> datetime:
    """The moment as a status stores it."""
    return moment.astimezone(UTC).replace(microsecond=0)
