"""The base of infra's errors: what is wrong, and the remedy.

`python -m infra.deploy` prints such an error as its text, without a traceback; any other error is a defect.
"""

from __future__ import annotations

from devservers_core.errors import FAILURE, CommandError


class InfraError(CommandError):
    """Ends a command of infra with an error that a person can cause or cure.

    ``what`` is wrong, in one line; ``remedy`` says in one line what to do about it. Where several problems are reported
    at once each has a line of its own.
    """

    def __init__(self, what: str, remedy: str, code: int = FAILURE) -> None:
        super().__init__(what, remedy, code)
        # The base makes one line of each.
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}\n  {self.remedy}"
