"""Why the API server refuses an object of a server, in words that say what to do.

A refusal is told in the status instead of being retried as a failure: the same request gets the same answer until
somebody changes something. None stands for what passes by itself, which is to be retried.
"""

from __future__ import annotations

import re

from .pending import QUOTA, Why, why_refused

_PASSES = re.compile(r"status unknown for quota|cannot [a-z]+ resource|is being terminated")
"""A quota that isn't counted yet; a binding that was made a moment ago; a namespace on its way out."""
_TOO_LARGE = re.compile(
    r"maximum storage usage per PersistentVolumeClaim is (?P<most>[^,]+), but request is (?P<asked>\S+)"
)
_ROOM = "Ask for a smaller one, delete a kept one (`devctl delete NAME --purge`), or ask an administrator."


def home_refused(status: int, text: str) -> Why | None:
    """The reason behind the refusal of a home that isn't there yet, None when it is to be tried again."""
    if status not in (400, 403, 422) or _PASSES.search(text):
        return None
    quota, large = QUOTA.search(text), _TOO_LARGE.search(text)
    if quota:
        asked, used, most = (_amount(quota[part]) for part in ("requested", "used", "limited"))
        return Why(
            "QuotaExceeded",
            f"Its home asks for {asked}; {used} of the {most} that all your volumes may have are taken, homes of "
            f"deleted servers included. {_ROOM}",
        )
    if large:
        return Why(
            "QuotaExceeded",
            f"Its home asks for {_amount(large['asked'])}, and a volume may have {_amount(large['most'])} at most. "
            "Set persistentHomeSize to less, or ask an administrator.",
        )
    return Why("InvalidSpec", f"The cluster refuses its home: {_cause(text)}. Correct persistentHomeSize.")


def child_refused(status: int, text: str) -> Why | None:
    """The reason behind the refusal of any other object of a server, None when it is to be tried again."""
    if _PASSES.search(text):
        return None
    if status in (413, 422):
        return Why("InvalidSpec", f"The cluster refuses what it would run: {_cause(text)}. Correct the server's spec.")
    return why_refused(text) if status in (400, 403) else None


def _amount(text: str) -> str:
    """The storage in a list like `persistentvolumeclaims=1,requests.storage=5Gi`, or the text as it is."""
    storage = re.search(r"requests\.storage=([^,\s]+)", text)
    return storage[1] if storage else text.strip().rstrip(".")


def _cause(text: str) -> str:
    return " ".join(text.split()).rstrip(".")[:400]
