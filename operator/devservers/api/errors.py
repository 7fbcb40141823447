"""Errors of the API's models.

Invariant: the text of each is one line that can be shown to a person.
"""

from __future__ import annotations

from pydantic import ValidationError


class InvalidObjectError(ValueError):
    """An API object that doesn't fit its model.

    The text names the fields, `; ` between them.
    """

    @classmethod
    def of(cls, kind: str, error: ValidationError) -> InvalidObjectError:
        """The error for a pydantic error, with five fields at most.

        Its text is like `DevServer: spec.flavor: Field required`.
        """
        lines = []
        for item in error.errors(include_url=False, include_context=False, include_input=False)[:5]:
            where = ".".join(str(part) for part in item["loc"]) or "object"
            text = item["msg"].removeprefix("Value error, ")
            lines.append(f"{where}: {' '.join(text.split())}")
        return cls(f"{kind}: " + "; ".join(lines))
