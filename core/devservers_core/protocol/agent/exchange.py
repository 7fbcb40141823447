"""Address, version and limits that plans and reports share."""

from __future__ import annotations

VERSION = 1
"""Of plans and reports."""
PATH = "/v1/exchange"
MAX_BYTES = 16 * 1024
"""Of a plan with its signature, and of a report."""
MAX_SECONDS = 10 * 365 * 86400
"""No duration of a report is longer: about ten years."""
MAX_REASON = 200
"""Characters of the reason of a hold."""
