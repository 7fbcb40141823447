"""Errors of a session that its user sees."""

from __future__ import annotations


class CommandRefusedError(ValueError):
    """Nothing is run; the text is one line that says what is possible instead."""
