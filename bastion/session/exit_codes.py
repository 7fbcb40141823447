"""Exit codes of a session that ends for the bastion's own reasons."""

from __future__ import annotations

BUSY = 75
"""The command may be tried again later (EX_TEMPFAIL, sysexits.h)."""
NOT_ON_RECORD = 77
"""The audit process refused the session (EX_NOPERM, sysexits.h)."""
NOT_POSSIBLE = 126
"""The command was not run; shells use the same code."""
