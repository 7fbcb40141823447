"""Errors that every part of the platform raises and shows."""

from __future__ import annotations


class InvalidValue(ValueError):
    """A value that does not fit its grammar; the text is one line and says what was expected."""
