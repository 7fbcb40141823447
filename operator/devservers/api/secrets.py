"""References to a person's secrets, as variables or files of a server.

The values lie in Secrets of the person's namespace (`devctl secret set`) and never in these objects.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from devservers.api.fields import EnvName, Matching, rules
from devservers.api.meta import Model
from devservers_core.grammar import SECRET_KEY, SECRET_KEY_MAX, SECRET_NAME, SECRET_NAME_MAX
from devservers_core.names import (
    ACCOUNT_ENV,
    DEFAULT_SECRET_KEY,
    MAX_SECRET_REFERENCES,
    RESERVED_ENV_PREFIX,
    SECRETS_PATH,
)

SecretName = Annotated[
    str,
    Matching(SECRET_NAME, "not a secret's name; use lower-case letters, digits and dashes", SECRET_NAME_MAX),
]
SecretKey = Annotated[
    str,
    Matching(SECRET_KEY, "not a secret's key; use letters, digits and . _ -, no dot first", SECRET_KEY_MAX),
]
SecretFile = Annotated[
    str,
    Matching(SECRET_KEY, "not a file's name; use letters, digits and . _ -, no dot first", SECRET_KEY_MAX),
]


class SecretReference(Model):
    """One value of a secret, as a variable or as a file."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.env) != has(self.file)", "a secret is either a variable or a file; give env or file"),
            (
                f"!has(self.env) || !self.env.startsWith('{RESERVED_ENV_PREFIX}')",
                f"variables starting with {RESERVED_ENV_PREFIX} are the platform's own; use another name",
                ".env",
            ),
            (
                f"!has(self.env) || !(self.env in {list(ACCOUNT_ENV)})",
                f"{', '.join(ACCOUNT_ENV)} are the account's own and can't be set; use another name",
                ".env",
            ),
        )
    )

    name: SecretName
    """What `devctl secret set` was given."""
    key: SecretKey = DEFAULT_SECRET_KEY
    """Which of its values."""
    env: EnvName | None = None
    """The variable that has the value."""
    file: SecretFile | None = None
    """The file that has the value."""


SecretReferences = Annotated[tuple[SecretReference, ...], Field(max_length=MAX_SECRET_REFERENCES)]
_TWICE = "self.secrets.all(x, !has(x.{0}) || self.secrets.exists_one(y, has(y.{0}) && y.{0} == x.{0}))"
UNIQUE = tuple(
    (
        f"!has(self.secrets) || {_TWICE.format(field)}",
        f"two secrets have the same {what}; give each its own",
        ".secrets",
    )
    for field, what in (("env", "variable"), ("file", f"file below {SECRETS_PATH}"))
)
"""The CEL rules, with their messages, that no variable and no file has two values."""
