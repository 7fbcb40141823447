"""Errors that every part of the platform raises and shows, with devctl's exit codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from devservers_core.types import Json

# Exit codes of devctl; exec, ssh and shell pass the remote code through.
FAILURE = 1
USAGE = 2
NOT_FOUND = 3
FORBIDDEN = 4
TIMED_OUT = 5
REFUSED = 6
INTERRUPTED = 130
READER_LEFT = 141  # as SIGPIPE ends a program
TRANSPORT = 255


class InvalidValueError(ValueError):
    """A value that does not fit its grammar.

    The text is one line and says what was expected.
    """


class CommandError(Exception):
    """Ends a command: `what` is wrong, its `remedy` (each one line), and the exit `code`."""

    def __init__(self, what: str, remedy: str, code: int = FAILURE) -> None:
        super().__init__(what)
        self.what = one_line(what)
        self.remedy = one_line(remedy)
        self.code = code


class ApiError(Exception):
    """A refusal of the API server, as its Status object tells it.

    `status` is the HTTP status (0 in the operator: it could not be reached), `reason` the machine word
    (NotFound, Invalid, ...), `message` its sentence, `causes` the list of {field, reason, message} of an Invalid.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        causes: Sequence[Json] = (),
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(f"{status} {reason}: {message}" if message else f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = list(causes)
        self.details: Json = dict(details or {})

    @property
    def not_found(self) -> bool:
        """Whether there is no such object, or no such kind."""
        return self.status == 404

    @property
    def conflict(self) -> bool:
        """True for both AlreadyExists and a lost optimistic lock."""
        return self.status == 409

    @property
    def refused(self) -> bool:
        """True when sending the same again cannot help: forbidden by policy, or invalid."""
        return self.status in (400, 403, 422)


class UnreachableError(Exception):
    """No answer from the API server: refused, timed out, wrong certificate.

    `maybe_applied` says that a change was sent whole, so that it may have been carried out.
    """

    def __init__(self, text: str, maybe_applied: bool = False) -> None:
        super().__init__(text)
        self.maybe_applied = maybe_applied


def one_line(text: str) -> str:
    """`text` with every run of white space made one blank."""
    return " ".join(text.split())
