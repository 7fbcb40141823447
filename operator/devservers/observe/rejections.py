"""Explains why the API server rejects an object of a server, and what to do.

A rejection is reported in the status instead of being retried as a failure: the same request gets the same answer until
somebody changes something. None stands for a transient rejection, which is retried.
"""

from __future__ import annotations

import re

from .causes import QUOTA, Cause, rejection_cause

_TRANSIENT = re.compile(r"status unknown for quota|cannot [a-z]+ resource|is being terminated")
"""A quota that isn't counted yet; a new RoleBinding; a namespace that is being deleted."""
_TOO_LARGE = re.compile(
    r"maximum storage usage per PersistentVolumeClaim is (?P<limit>[^,]+), but request is (?P<requested>\S+)"
)
_ADVICE = "Ask for a smaller one, delete a kept one (`devctl delete NAME --purge`), or ask an administrator."


def home_rejection(status: int, text: str) -> Cause | None:
    """The cause of the rejection of a new home, None when it is to be tried again."""
    if status not in (400, 403, 422) or _TRANSIENT.search(text):
        return None
    over_quota, too_large = QUOTA.search(text), _TOO_LARGE.search(text)
    if over_quota:
        requested, used, limit = (_amount(over_quota[part]) for part in ("requested", "used", "limited"))
        return Cause(
            "QuotaExceeded",
            f"Its home asks for {requested}; {used} of the {limit} that all your volumes may have are taken, homes of "
            f"deleted servers included. {_ADVICE}",
        )
    if too_large:
        return Cause(
            "QuotaExceeded",
            f"Its home asks for {_amount(too_large['requested'])}, and a volume may have {_amount(too_large['limit'])} "
            "at most. Set persistentHomeSize to less, or ask an administrator.",
        )
    return Cause("InvalidSpec", f"The cluster refuses its home: {_cause(text)}. Correct persistentHomeSize.")


def child_rejection(status: int, text: str) -> Cause | None:
    """The cause of the rejection of any other child, None when it is to be tried again."""
    if _TRANSIENT.search(text):
        return None
    if status in (413, 422):
        return Cause(
            "InvalidSpec", f"The cluster refuses what it would run: {_cause(text)}. Correct the server's spec."
        )
    return rejection_cause(text) if status in (400, 403) else None


def _amount(text: str) -> str:
    """The storage in a list like `persistentvolumeclaims=1,requests.storage=5Gi`, or the whole text."""
    storage = re.search(r"requests\.storage=([^,\s]+)", text)
    return storage[1] if storage else text.strip().rstrip(".")


def _cause(text: str) -> str:
    return " ".join(text.split()).rstrip(".")[:400]
